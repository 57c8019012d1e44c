from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.unpack import unpack
from tests.tasks.datasets.mirror import cifar_archive, cifar_members, tar_bytes

SIZES = {name: len(data) for name, data in cifar_members().items()}
FOLDER = "cifar-10-batches-bin"
INSIDE = {f"{FOLDER}/{name}": data for name, data in cifar_members().items()}


def take(tmp_path: Path, data: bytes) -> Path:
    """Unpacks a tar file of these bytes; the folder with what was taken."""
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "a.tar.gz").write_bytes(data)
    unpack(tmp_path / "a.tar.gz", FOLDER, SIZES, target, "name another mirror")
    return target


def special(kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, link
    return info


def test_what_is_wanted_is_taken_and_nothing_else(tmp_path: Path) -> None:
    target = take(tmp_path, cifar_archive())
    assert {path.name: path.read_bytes() for path in target.iterdir()} == cifar_members()


def test_modes_and_owners_of_the_archive_do_not_matter(tmp_path: Path) -> None:
    target = take(tmp_path, cifar_archive())
    assert all(path.stat().st_mode & 0o111 == 0 for path in target.iterdir())


@pytest.mark.parametrize(
    ("name", "member", "message"),
    [
        ("../evil", b"x", "path that leads out of it: got '../evil'"),
        (f"{FOLDER}/../../evil", b"x", "path that leads out"),
        ("/tmp/evil", b"x", "path that leads out of it: got '/tmp/evil'"),
        (f"{FOLDER}/link", special(tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
        (f"{FOLDER}/hard", special(tarfile.LNKTYPE, f"{FOLDER}/data_batch_1.bin"), "no plain file"),
        (f"{FOLDER}/pipe", special(tarfile.FIFOTYPE), "no plain file"),
        (f"{FOLDER}/device", special(tarfile.CHRTYPE), "no plain file"),
        ("other/large", b"x" * (2**20 + 1), "large file that does not belong there"),
        (f"{FOLDER}/test_batch.bin/deeper", b"x" * (2**20 + 1), "large file that does not belong there"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_hostile_archive_is_refused(
    tmp_path: Path, name: str, member: bytes | tarfile.TarInfo, message: str, first: bool
) -> None:
    hostile = {name: member}
    with pytest.raises(UserError, match=message):
        take(tmp_path, tar_bytes({**hostile, **INSIDE} if first else {**INSIDE, **hostile}))
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "target"}


def test_a_file_that_is_too_large_is_not_written(tmp_path: Path) -> None:
    name = f"{FOLDER}/data_batch_1.bin"
    with pytest.raises(UserError, match="larger than it should be, bytes: got 9220"):
        take(tmp_path, tar_bytes({**INSIDE, name: INSIDE[name] + b"x"}))
    assert not (tmp_path / "target" / "data_batch_1.bin").exists()


def test_a_file_that_comes_twice(tmp_path: Path) -> None:
    twice = {f"./{name}": data for name, data in INSIDE.items()}
    with pytest.raises(UserError, match="twice"):
        take(tmp_path, tar_bytes({**INSIDE, **twice}))


def test_too_many_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than it should, files: got 65"):
        take(tmp_path, tar_bytes({f"{FOLDER}/{i}": b"" for i in range(100)}))


@pytest.mark.parametrize("name", INSIDE)
def test_a_file_that_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"lacks a file: got '{Path(name).name}'; name another mirror"):
        take(tmp_path, tar_bytes({other: data for other, data in INSIDE.items() if other != name}))


@pytest.mark.parametrize("cut", [100, 5000])
def test_an_archive_that_is_cut(tmp_path: Path, cut: int) -> None:
    with pytest.raises(UserError, match=r"a\.tar\.gz: archive"):
        take(tmp_path, cifar_archive()[:-cut])


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x1f\x8b" + bytes(50)], ids=["empty", "html", "gzip"])
def test_no_archive_at_all(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match="archive"):
        take(tmp_path, data)
