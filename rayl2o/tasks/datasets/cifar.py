"""Strict reader of the binary form of CIFAR-10 and CIFAR-100: one or two label bytes, then 3,072 bytes of red, green, blue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.base import DataInfo, Examples
from rayl2o.tasks.datasets.fingerprint import digest_of
from rayl2o.tasks.datasets.folder import again, data_folder

SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_BATCH = re.compile(r"data_batch_([1-9]\d*)\.bin")


@dataclass(frozen=True)
class Cifar10:
    """The training batches ``data_batch_1.bin`` to ``_n``, however many are there, and ``test_batch.bin``; 10 classes."""

    name: str = "cifar10"
    folder: str = "cifar-10-batches-bin"

    @property
    def info(self) -> DataInfo:
        """Three channels of 32 x 32, ten classes."""
        return DataInfo(SHAPE, 10)

    def digest(self, part: str) -> str | None:
        """Of the files of a part."""
        return digest_of(self.files(data_folder(self.name, self.folder), part))

    def read(self, part: str) -> Examples:
        """All examples of a part, bytes."""
        return self.read_files(data_folder(self.name, self.folder), part)

    def files(self, folder: Path, part: str) -> tuple[Path, ...]:
        """The batches of a part, by number.

        Raises:
            UserError: If there is none, or the numbers have a gap.
        """
        if part == "test":
            return (_existing(folder / "test_batch.bin", self.name),)
        numbers = [int(match[1]) for path in folder.iterdir() if (match := _BATCH.fullmatch(path.name))]
        return tuple(
            _existing(folder / f"data_batch_{n}.bin", self.name) for n in range(1, max(numbers, default=1) + 1)
        )

    def reads(self, file: str) -> bool:
        """Whether it is named as a batch."""
        return file == "test_batch.bin" or _BATCH.fullmatch(file) is not None

    def count(self, folder: Path, part: str) -> int:
        """Examples of a part, from the sizes of its files."""
        return sum(count_records(file, 1, again(self.name)) for file in self.files(folder, part))

    def read_files(self, folder: Path, part: str) -> Examples:
        """All examples of a part, bytes, from any folder.

        Raises:
            UserError: If a batch is missing, cut or has a label that is not 0..9.
        """
        batches = [read_records(file, (10,), again(self.name)) for file in self.files(folder, part)]
        labels, pixels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return Examples(pixels, labels[:, 0].astype(np.int64))


@dataclass(frozen=True)
class Cifar100:
    """``train.bin`` and ``test.bin``; every record has a coarse label of 20 and a fine one of 100.

    Attributes:
        name: As settings name it.
        coarse: Whether the coarse labels are the classes.
    """

    name: str = "cifar100"
    folder: str = "cifar-100-binary"
    coarse: bool = False

    @property
    def info(self) -> DataInfo:
        """Three channels of 32 x 32, 100 classes or 20."""
        return DataInfo(SHAPE, 20 if self.coarse else 100)

    def digest(self, part: str) -> str | None:
        """Of the file of a part."""
        return digest_of(self.files(data_folder(self.name, self.folder), part))

    def read(self, part: str) -> Examples:
        """All examples of a part, bytes."""
        return self.read_files(data_folder(self.name, self.folder), part)

    def files(self, folder: Path, part: str) -> tuple[Path, ...]:
        """The one file of a part.

        Raises:
            UserError: If it is missing.
        """
        return (_existing(folder / f"{part}.bin", self.name),)

    def reads(self, file: str) -> bool:
        """Whether it is one of the two files."""
        return file in ("train.bin", "test.bin")

    def count(self, folder: Path, part: str) -> int:
        """Examples of a part, from the size of its file."""
        return count_records(self.files(folder, part)[0], 2, again(self.name))

    def read_files(self, folder: Path, part: str) -> Examples:
        """All examples of a part, bytes, from any folder.

        Raises:
            UserError: If the file is missing or cut, a label is out of range, or a fine class has two coarse ones.
        """
        (file,) = self.files(folder, part)
        labels, pixels = read_records(file, (20, 100), again(self.name))
        _require_hierarchy(file, labels, again(self.name))
        return Examples(pixels, labels[:, 0 if self.coarse else 1].astype(np.int64))


def count_records(path: Path, label_bytes: int, mend: str) -> int:
    """Records of a file, from its size.

    Raises:
        UserError: If it cannot be read, is empty or is not a whole number of records.
    """
    record = label_bytes + _PIXELS
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from None
    if size == 0 or size % record:
        what = f"{path}: not a whole number of records of {record} bytes, or none; bytes"
        raise UserError(what, value=size, mend=mend)
    return size // record


def read_records(path: Path, classes: Sequence[int], mend: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Labels ``[N, len(classes)]`` and pixels ``[N, 3072]`` of one file.

    Args:
        path: The file.
        classes: Number of classes of each label byte that a record begins with.
        mend: What to do about a damaged file.

    Raises:
        UserError: As :func:`count_records`, or if a label is out of range.
    """
    count = count_records(path, len(classes), mend)
    try:
        records = np.fromfile(path, dtype=np.uint8).reshape(count, -1)
    except OSError as error:
        raise _unreadable(path, error) from None
    labels = records[:, : len(classes)]
    for column, limit in enumerate(classes):
        if labels[:, column].max() >= limit:
            at = int(labels[:, column].argmax())
            what = f"{path}: label {column + 1} of record {at} is not 0..{limit - 1}"
            raise UserError(what, value=int(labels[at, column]), mend=mend)
    return labels, records[:, len(classes) :]


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"CIFAR file is unreadable ({error.strerror})", value=str(path), mend="check the file")


def _require_hierarchy(path: Path, labels: NDArray[np.uint8], mend: str) -> None:
    """Every fine class lies in one coarse class: files whose records are shifted seldom have it so."""
    coarse_of = np.full(100, -1)
    coarse_of[labels[:, 1]] = labels[:, 0]
    wrong = np.flatnonzero(coarse_of[labels[:, 1]] != labels[:, 0])
    if len(wrong):
        at = int(wrong[0])
        what = f"{path}: fine class {labels[at, 1]} has two coarse classes, {coarse_of[labels[at, 1]]} and, in record {at},"
        raise UserError(what, value=int(labels[at, 0]), mend=mend)


def _existing(path: Path, name: str) -> Path:
    if not path.is_file():
        raise UserError("CIFAR file does not exist", value=str(path), mend=f"put it there; {again(name)}")
    return path
