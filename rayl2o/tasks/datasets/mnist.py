"""MNIST and what comes in its format: IDX files of 28 x 28 images and of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.base import DataInfo, Examples
from rayl2o.tasks.datasets.fingerprint import digest_of
from rayl2o.tasks.datasets.folder import again, data_folder
from rayl2o.tasks.datasets.idx import idx_shape, read_idx

_STEMS = {"train": "train", "test": "t10k"}
_KINDS = ("images-idx3", "labels-idx1")
_CLASSES = 10


@dataclass(frozen=True)
class Mnist:
    """Four IDX files, gzip or plain, of whatever number of images.

    Attributes:
        name: As settings name it.
        folder: Under ``$RAYL2O_DATA``.
    """

    name: str
    folder: str

    @property
    def info(self) -> DataInfo:
        """One channel of 28 x 28, ten classes."""
        return DataInfo((1, 28, 28), _CLASSES)

    def digest(self, part: str) -> str | None:
        """Of the two files of a part."""
        return digest_of(self.files(data_folder(self.name, self.folder), part))

    def read(self, part: str) -> Examples:
        """All examples of a part, bytes."""
        return self.read_files(data_folder(self.name, self.folder), part)

    def files(self, folder: Path, part: str) -> tuple[Path, ...]:
        """Images and labels; where one lies there plain and as gzip, the plain one.

        Raises:
            UserError: If one of them is missing.
        """
        return tuple(self._find(folder, f"{_STEMS[part]}-{kind}-ubyte") for kind in _KINDS)

    def reads(self, file: str) -> bool:
        """Whether it is one of the four names, plain or with ``.gz``."""
        stem = file.removesuffix(".gz")
        return any(stem == f"{part}-{kind}-ubyte" for part in _STEMS.values() for kind in _KINDS)

    def count(self, folder: Path, part: str) -> int:
        """Images of a part, from the header of their file."""
        return idx_shape(self.files(folder, part)[0], 3, again(self.name))[0]

    def read_files(self, folder: Path, part: str) -> Examples:
        """All examples of a part, bytes, from any folder.

        Raises:
            UserError: If a file is missing or damaged, or the two do not belong together.
        """
        image_file, label_file = self.files(folder, part)
        mend = again(self.name)
        images, labels = read_idx(image_file, 3, mend), read_idx(label_file, 1, mend)
        if images.shape[1:] != (28, 28):
            raise UserError(f"{image_file}: images are not 28 x 28", value=images.shape[1:], mend=mend)
        if len(images) != len(labels):
            mend = f"{image_file.name} holds {len(images)} images; {mend}"
            raise UserError(f"{label_file}: one label per image is needed, labels", value=len(labels), mend=mend)
        if labels.max() >= _CLASSES:
            at = int(labels.argmax())
            raise UserError(f"{label_file}: label {at} is not 0..9", value=int(labels[at]), mend=mend)
        return Examples(images.reshape(len(images), -1), labels.astype(np.int64))

    def _find(self, folder: Path, stem: str) -> Path:
        plain, zipped = folder / stem, folder / f"{stem}.gz"
        for path in (plain, zipped):
            if path.is_file():
                return path
        mend = f"put it there, gzip or plain; {again(self.name)}"
        raise UserError("IDX file does not exist", value=str(zipped), mend=mend)
