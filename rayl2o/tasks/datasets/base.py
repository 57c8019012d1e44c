"""What a data set is before it is read, what reading gives, and what tasks are handed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

PARTS = ("train", "test")
"""The two parts in which every data set comes; splits are made of them."""


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


@dataclass(frozen=True)
class Examples:
    """One part as its source holds it.

    Attributes:
        inputs: ``[N, F]``; bytes, of which 255 stands for 1, or float32 in [0, 1].
        labels: int64 ``[N]``, 0..classes-1.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]

    def scaled(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows in [0, 1], float32: bytes are divided by 255, no mean is subtracted (T, code)."""
        chosen = self.inputs[rows]
        return chosen.astype(np.float32) / np.float32(255) if chosen.dtype == np.uint8 else chosen.astype(np.float32)


class Source(Protocol):
    """Reads a data set, strictly: what is not as it must be is refused with the file's name."""

    @property
    def name(self) -> str:
        """As settings name it."""

    @property
    def info(self) -> DataInfo:
        """Sizes; reads no example of the data sets listed by name (those of other libraries are looked at)."""

    def digest(self, part: str) -> str | None:
        """Hex digest of what :meth:`read` would give, found without decoding it; None to keep the examples in memory only.

        Raises:
            UserError: If the data are not there.
        """

    def read(self, part: str) -> Examples:
        """All examples of a part of :data:`PARTS`.

        Raises:
            UserError: If a file is missing or damaged.
        """


class FileSource(Source, Protocol):
    """A source of our own files under the data folder."""

    @property
    def folder(self) -> str:
        """Name of its folder there."""

    def files(self, folder: Path, part: str) -> tuple[Path, ...]:
        """The files in ``folder`` that a part is read from, in order.

        Raises:
            UserError: If one that must be there is not.
        """

    def reads(self, file: str) -> bool:
        """Whether a file of this name, if it lies in the folder, may be read as part of the data set."""

    def count(self, folder: Path, part: str) -> int:
        """Examples of a part, told from headers and sizes alone.

        Raises:
            UserError: If a file is missing or they do not tell.
        """

    def read_files(self, folder: Path, part: str) -> Examples:
        """As :meth:`read`, from any folder: also what was just downloaded and is not in its place yet."""
