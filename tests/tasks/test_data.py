from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import DATA, info, load
from tests.tasks.datasets.idx_files import idx_bytes, write_mnist


def test_sizes_are_known_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    assert [(name, info(name).features, info(name).classes) for name in DATA] == [
        ("digits", 64, 10),
        ("mnist", 784, 10),
        ("fashion-mnist", 784, 10),
        ("cifar10", 3072, 10),
        ("cifar100", 3072, 100),
        ("cifar100-coarse", 3072, 20),
    ]


def test_digits_are_split_once_and_for_all() -> None:
    train, test = load("digits"), load("digits", "test")
    assert train.inputs.shape == (1500, 64)
    assert test.inputs.shape == (297, 64)
    for part in (train, test):
        assert part.inputs.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert part.inputs.min() == 0
        assert part.inputs.max() == 1
        assert torch.equal(part.inputs * 16, (part.inputs * 16).round())
        assert sorted(set(part.labels.tolist())) == list(range(10))
    assert train.labels[:12].tolist() == [5, 4, 3, 1, 9, 4, 4, 4, 7, 7, 7, 1]  # pinned: figures depend on the split
    from sklearn.datasets import load_digits

    every = sorted(map(tuple, load_digits().data.tolist()))
    assert sorted(map(tuple, (torch.cat([train.inputs, test.inputs]) * 16).tolist())) == every


def test_a_data_set_is_read_once_and_cast_once() -> None:
    assert load("digits") is load("digits", "train", dtype=torch.float32)
    double = load("digits", dtype=torch.float64)
    assert double is load("digits", dtype=torch.float64)
    assert torch.equal(double.inputs, load("digits").inputs.double())


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_from_idx_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    write_mnist(tmp_path, zipped=zipped)
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    data = load("mnist", "test")
    assert data.inputs.shape == (6, 784)
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(data.inputs.flatten()[:256], torch.arange(256, dtype=torch.float32) / 255)


def test_another_folder_is_another_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (3, 5):
        root = tmp_path / str(count)
        root.mkdir()
        write_mnist(root, count)
        monkeypatch.setenv("RAYL2O_DATA", str(root))
        assert len(load("mnist").labels) == count


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [("mnits", "train", "did you mean 'mnist'"), ("digits", "tset", "did you mean 'test'")],
)
def test_unknown_names(name: str, split: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(name, split)


def test_unset_variable_missing_folder_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    with pytest.raises(UserError, match=r"RAYL2O_DATA, which is not set.*or use data=digits"):
        load("mnist")
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    with pytest.raises(
        UserError, match=r"data folder of 'mnist' does not exist.*'rayl2o data prepare mnist' fetches it"
    ):
        load("mnist")
    folder = write_mnist(tmp_path)
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"does not exist: got .*train-labels-idx1-ubyte\.gz"):
        load("mnist")


def test_bad_labels_and_mismatched_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    folder = write_mnist(tmp_path, labels=np.array([0, 1, 2, 10, 4, 5], dtype=np.uint8))
    labels, images = folder / "train-labels-idx1-ubyte.gz", folder / "train-images-idx3-ubyte.gz"
    with pytest.raises(UserError, match=r"label 3 is not 0\.\.9: got 10"):
        load("mnist")
    labels.write_bytes(gzip.compress(idx_bytes(np.zeros(5, dtype=np.uint8))))
    with pytest.raises(UserError, match=r"labels: got 5; .* holds 6 images"):
        load("mnist")
    images.write_bytes(gzip.compress(idx_bytes(np.zeros((5, 32, 32), dtype=np.uint8))))
    with pytest.raises(UserError, match=r"not 28 x 28: got \(32, 32\)"):
        load("mnist")
    images.write_bytes(labels.read_bytes())
    with pytest.raises(UserError, match="were two files swapped"):
        load("mnist")


def test_float64_is_a_copy_of_its_own_and_float32_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, count=24)
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    single, part = load("mnist"), load("mnist", "tf-train")
    assert part.inputs.untyped_storage().data_ptr() == single.inputs.untyped_storage().data_ptr()
    assert part.labels.untyped_storage().data_ptr() == single.labels.untyped_storage().data_ptr()
    assert torch.equal(load("mnist", dtype=torch.float64).inputs, single.inputs.double())


@pytest.mark.skipif("RAYL2O_DATA" not in os.environ, reason="RAYL2O_DATA is not set: no real MNIST here")
def test_real_mnist_is_read_whole() -> None:
    with gzip.open(Path(os.environ["RAYL2O_DATA"]) / "mnist" / "train-images-idx3-ubyte.gz") as file:
        count = struct.unpack(">4I", file.read(16))[1]
    data = load("mnist")
    assert data.inputs.shape == (count, 784)
    assert count >= 8000
    assert data.inputs.min() == 0
    assert data.inputs.max() == 1
    assert 0.12 < data.inputs.mean() < 0.14
    assert data.labels.bincount().min() > 0.08 * count


@pytest.mark.skipif("RAYL2O_DATA" not in os.environ, reason="RAYL2O_DATA is not set: no real CIFAR-10 here")
def test_real_cifar10_is_read_whole() -> None:
    folder = Path(os.environ["RAYL2O_DATA"]) / "cifar-10-batches-bin"
    if not folder.is_dir():
        pytest.skip("no CIFAR-10 in RAYL2O_DATA")
    data = load("cifar10")
    assert len(data.labels) == sum(path.stat().st_size for path in folder.glob("data_batch_*.bin")) // 3073
    means = data.inputs.reshape(-1, 3, 1024).mean((0, 2))
    # Published means of red, green and blue: an image read in another order of bytes has others.
    torch.testing.assert_close(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.01, rtol=0)
    assert data.labels.bincount(minlength=10).min() > 0.08 * len(data.labels)
