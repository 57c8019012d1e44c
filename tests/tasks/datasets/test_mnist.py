from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.data import load
from rayl2o.tasks.datasets.mnist import Mnist
from tests.tasks.datasets.idx_files import write_mnist

SOURCE = Mnist("mnist", "mnist")


def test_fashion_mnist_is_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"'fashion-mnist' does not exist.*rayl2o data prepare fashion-mnist'"):
        load("fashion-mnist")
    write_mnist(tmp_path).rename(tmp_path / "fashion-mnist")
    assert load("fashion-mnist").labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_plain_file_comes_before_a_zipped_one(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path)
    (folder / "train-labels-idx1-ubyte").write_bytes(b"")
    images, labels = SOURCE.files(folder, "train")
    assert (images.name, labels.name) == ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte")


def test_what_is_missing_or_damaged_says_how_to_mend_it(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path, zipped=False)
    labels = folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"truncated.*'rayl2o data prepare mnist' fetches it again"):
        SOURCE.read_files(folder, "test")
    labels.unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz.*'rayl2o data prepare mnist' fetches it again"):
        SOURCE.read_files(folder, "test")


def test_counts_come_from_headers_and_names_are_known(tmp_path: Path) -> None:
    folder = write_mnist(tmp_path, count=7)
    assert [SOURCE.count(folder, part) for part in ("train", "test")] == [7, 7]
    assert all(SOURCE.reads(path.name) for path in folder.iterdir())
    assert SOURCE.reads("t10k-labels-idx1-ubyte")
    assert not SOURCE.reads("train-images.gz")
