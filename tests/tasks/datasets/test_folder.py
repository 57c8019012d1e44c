from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.folder import data_folder, data_root


def test_the_variable_and_the_folder_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    with pytest.raises(
        UserError, match=r"\$RAYL2O_DATA, which is not set.*'rayl2o data prepare mnist'.*or use data=digits"
    ):
        data_root("mnist")
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    assert data_root("mnist") == tmp_path
    with pytest.raises(UserError) as caught:
        data_folder("mnist", "mnist")
    for text in (str(tmp_path / "mnist"), "'rayl2o data prepare mnist'", "data=digits", "holds mnist/"):
        assert text in str(caught.value)


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", "~/data")
    assert data_root("mnist") == Path.home() / "data"
