from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from rayl2o.tasks.datasets.lock import locked


def test_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path) as held:
        assert held
        with pytest.raises(BlockingIOError), locked(tmp_path, wait=False):
            pass
    with locked(tmp_path, wait=False) as held:
        assert held


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path) as held:
        assert not held
    with pytest.raises(FileNotFoundError), locked(tmp_path / "gone"):
        pass
