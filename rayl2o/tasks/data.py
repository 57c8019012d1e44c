"""Data sets as tensors, read once per process."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.seeds import derive_seed
from rayl2o.tasks.idx import read_idx

SPLITS = ("train", "test")
DATA_VARIABLE = "RAYL2O_DATA"
_DIGITS_TRAIN = 1500
_MNIST_STEMS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before any file is read.

    Attributes:
        shape: Of an example's inputs; (channels, height, width) of images.
        classes: Number of labels, 0..classes-1.
    """

    shape: tuple[int, ...]
    classes: int

    @property
    def features(self) -> int:
        """F, inputs per example."""
        return math.prod(self.shape)


DATA: Mapping[str, DataInfo] = MappingProxyType(
    {
        "digits": DataInfo((1, 8, 8), 10),
        "mnist": DataInfo((1, 28, 28), 10),
        "cifar10": DataInfo((3, 32, 32), 10),
        "cifar100": DataInfo((3, 32, 32), 100),
    }
)


@dataclass(frozen=True)
class DataSet:
    """One split of a data set; shared by everyone in the process, never written to.

    Attributes:
        inputs: ``[N, F]`` in [0, 1]; float32 unless another dtype was asked for.
        labels: int64 ``[N]``.
        classes: Number of labels.
    """

    inputs: Tensor
    labels: Tensor
    classes: int


def info(name: str) -> DataInfo:
    """Sizes of a data set, without reading it.

    Raises:
        UserError: If there is no such data set.
    """
    if name not in DATA:
        raise unknown_name("data set", name, DATA)
    return DATA[name]


def load(
    name: str,
    split: str = "train",
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> DataSet:
    """A split of a data set.

    ``digits``: the 1,797 8x8 digits that come with scikit-learn, values 0..16 divided by 16; the 1,500 examples whose index
    hashes lowest are ``train``, the other 297 ``test``. ``mnist``: the IDX files under ``$RAYL2O_DATA/mnist``, of whatever
    number of images, pixels divided by 255 and no mean subtracted (T, code).

    Raises:
        UserError: If the name or split is unknown, ``RAYL2O_DATA`` is unset, or a file is missing or damaged.
    """
    info(name)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    folder = _mnist_folder() if name == "mnist" else None
    return _converted(name, split, folder, str(device), dtype)


@lru_cache(maxsize=16)
def _converted(name: str, split: str, folder: Path | None, device: str, dtype: torch.dtype) -> DataSet:
    source = _source(name, split, folder)
    return DataSet(source.inputs.to(device, dtype), source.labels.to(device), source.classes)


@lru_cache(maxsize=4)
def _source(name: str, split: str, folder: Path | None) -> DataSet:
    pixels, labels = _digits(split) if folder is None else _mnist(folder, split)
    return DataSet(torch.from_numpy(pixels), torch.from_numpy(labels), DATA[name].classes)


def _digits(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # slow to import, and MNIST does not need it

    pixels, labels = load_digits(return_X_y=True)
    # Sorting by a hash keeps the split the same whatever the versions of numpy and torch.
    order = sorted(range(len(labels)), key=lambda index: derive_seed("digits split", index))
    chosen = order[:_DIGITS_TRAIN] if split == "train" else order[_DIGITS_TRAIN:]
    return (pixels[chosen] / 16).astype(np.float32), labels[chosen].astype(np.int64)


def _mnist_folder() -> Path:
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        mend = "set it to the folder that holds mnist/train-images-idx3-ubyte.gz and its three companions, or use data=digits"
        raise UserError(f"data set 'mnist' is read from ${DATA_VARIABLE}, which is not set", value=root, mend=mend)
    folder = Path(root) / "mnist"
    if not folder.is_dir():
        mend = f"point ${DATA_VARIABLE} at the folder that holds mnist/, or use data=digits"
        raise UserError("data folder does not exist", value=str(folder), mend=mend)
    return folder.resolve()


def _mnist(folder: Path, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    stem = _MNIST_STEMS[split]
    image_file, label_file = _find(folder, f"{stem}-images-idx3-ubyte"), _find(folder, f"{stem}-labels-idx1-ubyte")
    images, labels = read_idx(image_file, dims=3), read_idx(label_file, dims=1)
    if images.shape[1:] != (28, 28):
        raise UserError(f"{image_file}: images are not 28 x 28", value=images.shape[1:], mend="use MNIST's own files")
    if len(images) != len(labels):
        mend = f"{image_file.name} holds {len(images)} images; fetch both files again"
        raise UserError(f"{label_file}: one label per image is needed, labels", value=len(labels), mend=mend)
    if labels.max() >= DATA["mnist"].classes:
        at = int(labels.argmax())
        raise UserError(f"{label_file}: label {at} is not 0..9", value=int(labels[at]), mend="fetch the file again")
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _find(folder: Path, stem: str) -> Path:
    plain, zipped = folder / stem, folder / f"{stem}.gz"
    return plain if plain.exists() else zipped
