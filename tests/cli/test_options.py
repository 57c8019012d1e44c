from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayl2o.cli.options import assignments, first_free, one_thread
from rayl2o.errors import UserError


def test_the_first_free_folder(tmp_path: Path) -> None:
    assert first_free(tmp_path, "a") == tmp_path / "a-1"
    for name in ("a-1", "a-2", "a-9", "b-1"):
        (tmp_path / name).mkdir()
    assert first_free(tmp_path, "a") == tmp_path / "a-3"
    assert first_free(tmp_path / "gone", "a") == tmp_path / "gone" / "a-1"


def test_one_thread() -> None:
    one_thread()
    assert torch.get_num_threads() == 1


def test_assignments_split_at_the_first_equals_sign() -> None:
    assert assignments(["a=1", "b=x=y", "c="]) == [("a", "1"), ("b", "x=y"), ("c", "")]
    for text in ("a", "=1", ""):
        with pytest.raises(UserError, match="key=value"):
            assignments([text])
