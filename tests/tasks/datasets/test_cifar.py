from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import info, load
from rayl2o.tasks.datasets.cifar import Cifar10, Cifar100, count_records, read_records
from tests.tasks.datasets.cifar_files import column, records, write_cifar10, write_cifar100


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    return tmp_path


def test_cifar10_is_all_batches_in_order(data: Path) -> None:
    folder = write_cifar10(data, batches=12, count=3)  # 10 comes after 9, not after 1
    train, test = load("cifar10"), load("cifar10", "test")
    assert train.labels.tolist() == [i % 10 for i in range(36)]
    assert test.labels.tolist() == [3, 1, 4]
    assert info("cifar10").shape == (3, 32, 32)
    third = np.frombuffer((folder / "data_batch_11.bin").read_bytes(), np.uint8).reshape(3, 3073)[2, 1:]
    assert torch.equal(train.inputs[32], torch.from_numpy(third.astype(np.float32) / np.float32(255)))


def test_pixels_are_planes_of_red_green_blue(data: Path) -> None:
    folder = data / "cifar-10-batches-bin"
    folder.mkdir()
    red_first_row = bytes([255] * 32 + [0] * (3072 - 32))
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes(b"\x07" + red_first_row)
    image = load("cifar10").inputs[0].reshape(info("cifar10").shape)
    assert image[0, 0].tolist() == [1.0] * 32
    assert image.sum() == 32


def test_cifar100_has_fine_and_coarse_classes(data: Path) -> None:
    write_cifar100(data)
    fine, coarse = load("cifar100"), load("cifar100-coarse")
    assert (fine.classes, coarse.classes) == (100, 20)
    assert fine.labels.tolist() == [0, 99, 50, 7, 7, 6]
    assert coarse.labels.tolist() == [0, 19, 10, 1, 1, 1]
    assert torch.equal(fine.inputs, coarse.inputs)
    assert load("cifar100", "test").labels.tolist() == [98, 5]


def test_a_missing_batch_is_named(data: Path) -> None:
    folder = write_cifar10(data, batches=3)
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_2\.bin.*rayl2o data prepare cifar10"):
        load("cifar10")
    for path in folder.glob("data_batch_*"):
        path.unlink()
    with pytest.raises(UserError, match=r"does not exist: got .*data_batch_1\.bin"):
        load("cifar10")
    (folder / "test_batch.bin").unlink()
    with pytest.raises(UserError, match=r"does not exist: got .*test_batch\.bin"):
        load("cifar10", "test")
    with pytest.raises(UserError, match=r"data folder of 'cifar100' does not exist.*rayl2o data prepare cifar100'"):
        load("cifar100")


@pytest.mark.parametrize("cut", [1, 3072, 3073 * 5 - 1])
def test_a_cut_file(data: Path, cut: int) -> None:
    path = write_cifar10(data) / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=rf"data_batch_2\.bin: not a whole number of records.*got {3073 * 5 - cut}"):
        load("cifar10")


def test_an_empty_file_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").touch()
    with pytest.raises(UserError, match="or none; bytes: got 0"):
        read_records(tmp_path / "empty.bin", (10,), "")
    for read in (lambda path: read_records(path, (10,), ""), lambda path: count_records(path, 1, "")):
        with pytest.raises(UserError, match="unreadable"):
            read(tmp_path / "gone.bin")


def test_labels_out_of_range_are_named_with_their_record(data: Path) -> None:
    folder = write_cifar10(data)
    (folder / "test_batch.bin").write_bytes(records(column(0, 9, 10, 200)))
    with pytest.raises(UserError, match=r"test_batch\.bin: label 1 of record 3 is not 0\.\.9: got 200"):
        load("cifar10", "test")
    fine = write_cifar100(data) / "test.bin"
    fine.write_bytes(records(np.array([[19, 99], [19, 100]], dtype=np.uint8)))
    with pytest.raises(UserError, match=r"label 2 of record 1 is not 0\.\.99: got 100"):
        load("cifar100", "test")
    fine.write_bytes(records(np.array([[20, 99]], dtype=np.uint8)))
    with pytest.raises(UserError, match=r"label 1 of record 0 is not 0\.\.19: got 20"):
        load("cifar100-coarse", "test")


def test_a_fine_class_lies_in_one_coarse_class(data: Path) -> None:
    path = write_cifar100(data) / "train.bin"
    path.write_bytes(records(np.array([[1, 5], [2, 6], [3, 5]], dtype=np.uint8)))
    with pytest.raises(UserError, match=r"train\.bin: fine class 5 has two coarse classes, 3 and, in record 0"):
        load("cifar100")


def test_files_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    folder = write_cifar100(tmp_path)
    (folder / "data_batch_1.bin").write_bytes((folder / "train.bin").read_bytes())
    with pytest.raises(UserError, match="not a whole number of records of 3073 bytes"):
        Cifar10().read_files(folder, "train")


def test_counts_come_from_sizes_and_names_are_known(tmp_path: Path) -> None:
    ten, hundred = write_cifar10(tmp_path), write_cifar100(tmp_path)
    assert [Cifar10().count(ten, part) for part in ("train", "test")] == [10, 3]
    assert [Cifar100().count(hundred, part) for part in ("train", "test")] == [6, 2]
    assert [
        name for name in ("data_batch_12.bin", "test_batch.bin", "data_batch_0.bin", "x") if Cifar10().reads(name)
    ] == [
        "data_batch_12.bin",
        "test_batch.bin",
    ]
    assert Cifar100().reads("train.bin")
    assert not Cifar100().reads("fine_label_names.txt")
