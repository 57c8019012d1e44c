from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.library import library, reading


def test_a_library_that_is_missing_is_named_with_what_installs_it() -> None:
    with pytest.raises(UserError) as caught:
        library("no_such_library.datasets", "hf", "hf:x")
    assert "no_such_library.datasets" in str(caught.value)
    assert "got 'hf:x'; pip install 'rayl2o[hf]'" in str(caught.value)
    assert library("json", "hf", "hf:x").loads("1") == 1


def test_a_library_that_does_not_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("raise RuntimeError('built for another torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="built for another torch"):
        library("broken_library", "hf", "hf:x")
    sys.modules.pop("broken_library", None)


def test_what_a_library_raises_becomes_one_line() -> None:
    with pytest.raises(UserError, match=r"cannot be read \(KeyError: 'first'\): got 'hf:x'"), reading("hf:x"):
        raise KeyError("first")
    with pytest.raises(UserError) as caught, reading("hf:x"):
        raise ConnectionError("first\nsecond")
    assert "second" not in str(caught.value)
    with pytest.raises(UserError, match="mine"), reading("hf:x"):
        raise UserError("mine", value=1, mend="")
