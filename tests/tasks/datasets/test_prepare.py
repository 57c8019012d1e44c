from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import load
from rayl2o.tasks.datasets import prepare as module
from rayl2o.tasks.datasets.archives import PUBLICATIONS, Publication
from rayl2o.tasks.datasets.lock import locked
from rayl2o.tasks.datasets.prepare import prepare
from rayl2o.tasks.datasets.registry import FILE_SOURCES
from tests.tasks.datasets.idx_files import idx_bytes
from tests.tasks.datasets.mirror import (
    Mirror,
    cifar_archive,
    cifar_members,
    cifar_publication,
    mnist_files,
    mnist_publication,
    serving,
    tar_bytes,
)

FILES, ARCHIVE = mnist_files(), cifar_archive()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mirror]:
    """Publishes a small MNIST and a small CIFAR-10; the data folder does not exist yet."""
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RAYL2O_CACHE", str(tmp_path / "cache"))
    served = {f"/{name}": data for name, data in FILES.items()} | {"/cifar-10-binary.tar.gz": ARCHIVE}
    with serving(Mirror(served)) as found:
        published: Mapping[str, Publication] = {
            "mnist": mnist_publication(FILES, found.url),
            "cifar10": cifar_publication(ARCHIVE, found.url),
        }
        monkeypatch.setattr(module, "PUBLICATIONS", published)
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_mnist_is_put_in_place_and_into_the_store(mirror: Mirror, data: Path, tmp_path: Path) -> None:
    done = prepare("mnist")
    assert (done.folder, done.examples, done.set_aside) == (data / "mnist", {"train": 6, "test": 6}, ())
    assert sorted(done.fetched) == sorted(FILES)
    assert files(data / "mnist") == FILES
    assert [path.name for path in data.iterdir()] == ["mnist"]  # nothing of the work is left
    assert len([path for path in (tmp_path / "cache" / "data").iterdir() if path.is_dir()]) == 2
    assert len(load("mnist").labels) == 6


def test_cifar_is_unpacked_and_put_in_place(mirror: Mirror, data: Path) -> None:
    done = prepare("cifar10")
    assert done.examples == {"train": 5, "test": 2}
    assert files(data / "cifar-10-batches-bin") == cifar_members()
    assert [path.name for path in data.iterdir()] == ["cifar-10-batches-bin"]
    assert load("cifar10").labels.tolist() == [1, 2, 3, 4, 5]


def test_what_reads_well_is_left_alone_unless_it_shall_be_replaced(mirror: Mirror, data: Path) -> None:
    folder = data / "mnist"
    folder.mkdir(parents=True)
    for name, content in mnist_files(3).items():
        (folder / name).write_bytes(content)
    assert prepare("mnist").fetched == ()
    assert mirror.asked == []
    assert len(load("mnist").labels) == 3
    assert sorted(prepare("mnist", replace=True).fetched) == sorted(FILES)
    assert len(load("mnist").labels) == 6


def test_only_what_is_missing_or_damaged_is_fetched(mirror: Mirror, data: Path) -> None:
    prepare("mnist")
    mirror.asked.clear()
    name = "t10k-labels-idx1-ubyte.gz"
    (data / "mnist" / name).write_bytes(b"damaged")
    assert prepare("mnist").fetched == (name,)
    assert [path for path, _ in mirror.asked] == [f"/{name}"]
    assert files(data / "mnist") == FILES


def test_a_damaged_file_in_the_way_is_renamed_not_deleted(mirror: Mirror, data: Path) -> None:
    """The reader prefers plain files, so a damaged plain one would hide the zipped one."""
    folder = data / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(b"damaged")
    (folder / "notes.txt").write_bytes(b"mine")
    done = prepare("mnist")
    assert done.set_aside == ("train-images-idx3-ubyte.set-aside",)
    assert (folder / "train-images-idx3-ubyte.set-aside").read_bytes() == b"damaged"
    assert (folder / "notes.txt").read_bytes() == b"mine"
    assert len(load("mnist").labels) == 6


def test_batches_that_are_not_published_are_set_aside(mirror: Mirror, data: Path) -> None:
    prepare("cifar10")
    folder = data / "cifar-10-batches-bin"
    (folder / "data_batch_7.bin").write_bytes(b"x")
    assert prepare("cifar10").set_aside == ("data_batch_7.bin.set-aside",)
    assert len(load("cifar10").labels) == 5


def test_a_mirror_of_the_users_choice(mirror: Mirror, data: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name, content in FILES.items():
        (media / name).write_bytes(content)
    prepare("mnist", media.as_uri())
    assert mirror.asked == []
    assert files(data / "mnist") == FILES


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_interrupted_anywhere_it_goes_on(mirror: Mirror, data: Path, name: str) -> None:
    """Stopped at every call of the progress in turn: no file of the data set is ever half there, and what came is kept."""
    stops = 0

    def stop(file: str, have: int, total: int) -> None:
        raise KeyboardInterrupt

    while True:
        try:
            prepare(name, told=stop)
            break
        except KeyboardInterrupt:
            stops += 1
            assert not list(data.glob("[!.]*"))
    assert stops == (4 if name == "mnist" else 1)
    assert prepare(name).fetched == ()
    assert [path.name for path in data.iterdir()] == [PUBLICATIONS[name].folder]


def test_a_wrong_checksum_leaves_nothing(mirror: Mirror, data: Path) -> None:
    path = "/cifar-10-binary.tar.gz"
    mirror.files[path] = ARCHIVE[:-1] + bytes([ARCHIVE[-1] ^ 1])
    with pytest.raises(UserError, match="checksum"):
        prepare("cifar10")
    assert list(data.iterdir()) == []


def test_a_hostile_archive_with_the_right_checksum_leaves_no_data(
    mirror: Mirror, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {f"cifar-10-batches-bin/{name}": content for name, content in cifar_members().items()}
    evil = tar_bytes({**inside, "../evil": b"x"})
    mirror.files["/cifar-10-binary.tar.gz"] = evil
    monkeypatch.setattr(module, "PUBLICATIONS", {"cifar10": cifar_publication(evil, mirror.url)})
    with pytest.raises(UserError, match="leads out of it"):
        prepare("cifar10")
    assert not list(data.glob("[!.]*"))
    assert not list(data.parent.rglob("evil"))


def test_published_files_that_do_not_read_are_not_put_in_place(
    mirror: Mirror, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = FILES | {"t10k-labels-idx1-ubyte.gz": gzip.compress(idx_bytes(torch.zeros(5).byte().numpy()))}
    mirror.files = {f"/{name}": content for name, content in wrong.items()}
    monkeypatch.setattr(module, "PUBLICATIONS", {"mnist": mnist_publication(wrong, mirror.url)})
    with pytest.raises(UserError, match="one label per image"):
        prepare("mnist")
    assert not list(data.glob("[!.]*"))


def test_one_process_at_a_time(mirror: Mirror, data: Path) -> None:
    data.mkdir()
    with locked(data), pytest.raises(UserError, match="another process prepares data in this folder"):
        prepare("mnist")
    assert prepare("mnist").examples["train"] == 6


def test_a_folder_that_is_a_link(mirror: Mirror, data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk" / "images"
    elsewhere.mkdir(parents=True)
    data.mkdir()
    (data / "mnist").symlink_to(elsewhere)
    prepare("mnist")
    assert files(elsewhere) == FILES
    assert [path.name for path in elsewhere.parent.iterdir()] == ["images"]


def test_a_disk_that_refuses(mirror: Mirror, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"cannot write the data .*No space left.*free space"):
        prepare("mnist")
    monkeypatch.undo()
    shutil.rmtree(data)
    data.write_text("a file")
    monkeypatch.setenv("RAYL2O_DATA", str(data))
    with pytest.raises(UserError, match="cannot write the data"):
        prepare("mnist", "file:///nowhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "prepare one of mnist, fashion-mnist, cifar10"),
        ("hf:some/set", "its library fetches it"),
        ("mnits", "did you mean 'mnist'"),
    ],
)
def test_what_cannot_be_prepared(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(name)


def test_every_data_set_of_files_is_published() -> None:
    assert set(PUBLICATIONS) == set(FILE_SOURCES)
    for name, publication in PUBLICATIONS.items():
        source = FILE_SOURCES[name]
        assert publication.folder == source.folder
        names = publication.members or [archive.file for archive in publication.archives]
        assert sum(source.reads(file) for file in names) in (2, 4, 6)
        assert all(len(archive.md5) == 32 and len(archive.sha256) == 64 for archive in publication.archives)
