"""Against a stand-in for torchvision with the classes and attributes that are used of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import info, load
from rayl2o.tasks.datasets import torchvision_sets
from rayl2o.tasks.networks.mlp import MLP

GREY = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Any]]:
    """How the classes of the library were called."""
    calls: list[Any] = []

    class MNIST:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            calls.append((root, train, download))
            if not (Path(root) / "MNIST").exists():
                raise RuntimeError("Dataset not found.")
            self.data, self.targets = torch.from_numpy(GREY), torch.arange(6)

    class CIFAR10:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            self.data, self.targets = COLOUR, [3, 1, 4, 1]

    class KMNIST:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            self.data, self.targets = torch.zeros(6, 20, 20), torch.arange(6)

    parent, module = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    for kind in (MNIST, CIFAR10, KMNIST):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "torchvision", parent)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    yield calls
    torchvision_sets._digest.cache_clear()


def test_grey_images(tmp_path: Path, made: list[Any]) -> None:
    (tmp_path / "MNIST").mkdir()
    data = load("torchvision:MNIST", "test")
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(data.inputs, torch.from_numpy(GREY.reshape(6, -1).astype(np.float32) / np.float32(255)))
    assert set(made) == {(str(tmp_path), False, False)}


def test_colour_comes_first() -> None:
    data = load("torchvision:CIFAR10")
    image = data.inputs[2].reshape(info("torchvision:CIFAR10").shape)
    assert torch.equal((image * 255).round().byte(), torch.from_numpy(COLOUR[2]).permute(2, 0, 1))


def test_sizes_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    assert (info("torchvision:CIFAR100").shape, info("torchvision:CIFAR100").classes) == ((3, 32, 32), 100)
    assert MLP(data="torchvision:MNIST").layout.size == 15_910
    with pytest.raises(UserError, match=r"pip install 'rayl2o\[torchvision\]'"):
        load("torchvision:CIFAR10")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load("torchvision:MNIST")
    assert "Dataset not found." in str(caught.value)
    assert f"$RAYL2O_DATA (root={tmp_path}, download=True)" in str(caught.value)


def test_images_of_another_form() -> None:
    with pytest.raises(UserError, match=r"another form: got \('float32', \(6, 20, 20\)\)"):
        load("torchvision:KMNIST")
