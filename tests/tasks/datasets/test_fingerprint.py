from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets import fingerprint
from rayl2o.tasks.datasets.fingerprint import digest_of, file_sha256


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RAYL2O_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    fingerprint._recorded.cache_clear()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose content was read."""
    read: list[Path] = []
    honest = fingerprint._hashed

    def noted(path: Path) -> str:
        read.append(path)
        return honest(path)

    monkeypatch.setattr(fingerprint, "_hashed", noted)
    return read


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a minute pass since files were written."""
    later = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)


def test_a_settled_file_is_hashed_once_for_all_processes(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    settle(monkeypatch)
    for _ in range(3):
        assert file_sha256(path) == sha256(b"one")
    fingerprint._recorded.cache_clear()  # another process
    assert file_sha256(path) == sha256(b"one")
    assert hashed == [path]


def test_a_file_that_has_just_changed_is_not_trusted(tmp_path: Path, hashed: list[Path], cache: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert file_sha256(path) == sha256(b"one")
    path.write_bytes(b"two")  # the same size, perhaps within one tick of the clock
    assert file_sha256(path) == sha256(b"two")
    assert not list(cache.rglob("*.json"))


def test_a_change_under_the_old_time_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    settle(monkeypatch)
    file_sha256(path)
    kept = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as ``touch -r`` and ``cp -p`` do
    assert path.stat().st_size == kept.st_size
    assert path.stat().st_mtime_ns == kept.st_mtime_ns
    assert file_sha256(path) == sha256(b"two")


@pytest.mark.parametrize("record", [b"", b"[]", b'{"path": 1}', b"\xff", b'{"sha256": "00"}'])
def test_a_damaged_record_is_worth_nothing(
    tmp_path: Path, cache: Path, record: bytes, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    settle(monkeypatch)
    file_sha256(path)
    (written,) = cache.rglob("*.json")
    written.write_bytes(record)
    fingerprint._recorded.cache_clear()
    assert file_sha256(path) == sha256(b"one")
    assert hashed == [path, path]


def test_a_digest_that_is_none_is_not_taken_from_a_record(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    settle(monkeypatch)
    file_sha256(path)
    (written,) = cache.rglob("*.json")
    written.write_text(written.read_text().replace(sha256(b"one"), "x" * 64))
    fingerprint._recorded.cache_clear()
    assert file_sha256(path) == sha256(b"one")


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    settle(monkeypatch)
    monkeypatch.setenv("RAYL2O_CACHE", str(path / "no folder"))
    for _ in range(2):
        assert file_sha256(path) == sha256(b"one")
    assert len(hashed) == 2


def test_several_files_in_order(tmp_path: Path) -> None:
    one, two, copy = (tmp_path / name for name in ("one", "two", "copy"))
    for path, data in ((one, b"1"), (two, b"2"), (copy, b"1")):
        path.write_bytes(data)
    assert digest_of([one, two]) == digest_of([copy, two])
    assert len({digest_of([one, two]), digest_of([two, one]), digest_of([one])}) == 3


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read data file \(No such file.*gone"):
        file_sha256(tmp_path / "gone")
