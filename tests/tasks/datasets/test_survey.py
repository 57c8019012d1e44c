from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.data import load
from rayl2o.tasks.datasets.registry import source_of
from rayl2o.tasks.datasets.store import INPUTS, Key
from rayl2o.tasks.datasets.survey import DAMAGED, EMBEDDED, FOUND, MISSING, inspect, presence
from tests.tasks.datasets.cifar_files import write_cifar10
from tests.tasks.datasets.idx_files import write_mnist


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    monkeypatch.setenv("RAYL2O_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_embedded_missing_found_damaged(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert presence("digits").status == EMBEDDED
    assert presence("digits").examples == {"train": 1500, "test": 297}
    missing = presence("mnist")
    assert (missing.status, missing.folder, missing.examples) == (MISSING, data / "mnist", {})
    assert "rayl2o data prepare mnist" in missing.detail
    folder = write_mnist(data)
    assert presence("mnist").status == FOUND
    assert presence("mnist").examples == {"train": 6, "test": 6}
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    damaged = presence("mnist")
    assert (damaged.status, damaged.examples) == (DAMAGED, {})
    assert "t10k-images-idx3-ubyte.gz" in damaged.detail
    monkeypatch.delenv("RAYL2O_DATA")
    assert (presence("mnist").status, presence("mnist").folder) == (MISSING, None)
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        presence("mnits")


def test_a_strict_read_with_digests_labels_and_store(data: Path) -> None:
    write_cifar10(data, batches=2, count=5)
    train, test = inspect("cifar10")
    assert (train.part, train.examples, train.labels) == ("train", 10, (1,) * 10)
    assert [file.file.name for file in train.files] == ["data_batch_1.bin", "data_batch_2.bin"]
    assert [(file.size, file.published) for file in test.files] == [(3 * 3073, None)]
    assert test.stored == {"in order": "absent", "shuffled": "absent"}
    load("cifar10", "test")
    load("cifar10", "half-1")
    assert [part.stored for part in inspect("cifar10")] == [
        {"in order": "absent", "shuffled": "sound"},
        {"in order": "sound", "shuffled": "absent"},
    ]
    digest = source_of("cifar10").digest("test")
    assert digest is not None
    path = Key("cifar10", "test", False, digest).path / INPUTS
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))
    assert inspect("cifar10")[1].stored["in order"] == "damaged"


def test_files_of_ones_own_are_told_from_published_ones(data: Path) -> None:
    write_mnist(data)
    assert [file.published for part in inspect("mnist") for file in part.files] == [False] * 4


def test_embedded_data_have_no_files_and_no_store() -> None:
    assert [(part.files, part.stored) for part in inspect("digits")] == [((), {}), ((), {})]


def test_damaged_data_are_refused(data: Path) -> None:
    folder = write_mnist(data)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="t10k-labels"):
        inspect("mnist")
