"""Data sets of the Hugging Face ``datasets`` library, of images or of numbers in columns: ``hf:NAME[@CONFIG][#LABEL]``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.base import DataInfo, Examples
from rayl2o.tasks.datasets.reading import reading
from rayl2o.tasks.optional_library import import_optional

PREFIX = "hf:"
_FORM = "hf:NAME, hf:NAME@CONFIG or hf:FOLDER, with #COLUMN at the end to choose the labels"
_TESTS = ("test", "validation")
_NUMBERS = ("float", "int", "uint", "bool")


@dataclass(frozen=True)
class HuggingFace:
    """A data set of the hub, or one in a folder: saved by ``save_to_disk``, or of files that ``load_dataset`` understands.

    What is read follows from the types of its columns. Labels: the one ``ClassLabel``, or the one called ``label``, or what
    ``#COLUMN`` names; integers from 0 will do. Inputs: the one ``Image`` column (bytes, all of one size; divided by 255), else
    all other columns of numbers, scaled to [0, 1] by their range in the training part and clipped to it in the test part. Parts:
    ``train``; ``test``, or ``validation`` where there is no ``test``.

    Attributes:
        name: As settings name it.

    Raises:
        UserError: If the name has another form.
    """

    name: str

    def __post_init__(self) -> None:
        if not self._parsed()[0]:
            raise UserError("bad name of a Hugging Face data set", value=self.name, mend=f"use {_FORM}")

    @property
    def info(self) -> DataInfo:
        """Sizes; the library is asked for them, and of images the first one is looked at. Fetches the data if need be."""
        return _info(self)

    def digest(self, part: str) -> str | None:
        """Of the library's fingerprint of the data; None if it has none."""
        opened, columns = _opened(self), _columns(self)
        prints = [getattr(opened[name], "_fingerprint", None) for name in ("train", self._split(part))]
        if None in prints:
            return None
        text = json.dumps(["hugging-face", 1, prints, columns.label, columns.image, columns.numbers])
        return hashlib.sha256(text.encode()).hexdigest()

    def read(self, part: str) -> Examples:
        """All examples of a part.

        Raises:
            UserError: If the library is not installed, the data cannot be had, or an example has another form than the first.
        """
        info, columns = self.info, _columns(self)
        with reading(self.name):
            rows = _opened(self)[self._split(part)]
            labels = np.asarray(rows[columns.label])
            if labels.dtype.kind not in "iub" or labels.min(initial=0) < 0 or labels.max(initial=0) >= info.classes:
                mend = f"integers 0..{info.classes - 1} are needed; does this part come without labels?"
                value = (str(labels.dtype), labels.min(initial=0), labels.max(initial=0))
                raise UserError(f"{self.name}: bad labels in {part!r}", value=value, mend=mend)
            if not len(labels):
                raise UserError(f"{self.name}: no examples in a part", value=part, mend="use another data set")
            if columns.image is not None:
                inputs: NDArray[Any] = np.empty((len(labels), info.features), np.uint8)
                for i, row in enumerate(rows):
                    inputs[i] = _image(self.name, row[columns.image], info.shape).reshape(-1)
            else:
                inputs = self._scaled(rows, columns.numbers)
        return Examples(inputs, labels.astype(np.int64))

    def _scaled(self, rows: Any, names: tuple[str, ...]) -> NDArray[np.float32]:
        train = np.stack([np.asarray(_opened(self)["train"][name], np.float64) for name in names], axis=1)
        inputs = np.stack([np.asarray(rows[name], np.float64) for name in names], axis=1)
        if not (np.isfinite(train).all() and np.isfinite(inputs).all()):
            mend = "fill the gaps first, or use another data set"
            raise UserError(f"{self.name}: a column has a value that is no finite number", value=names, mend=mend)
        low, span = train.min(0), np.ptp(train, axis=0)
        scaled: NDArray[np.float32] = np.clip((inputs - low) / np.where(span > 0, span, 1), 0, 1).astype(np.float32)
        return scaled

    def _split(self, part: str) -> str:
        opened = _opened(self)
        for name in ("train",) if part == "train" else _TESTS:
            if name in opened:
                return name
        mend = "it must have 'train' and 'test' (or 'validation')"
        raise UserError(f"{self.name} has no {part!r} part", value=sorted(opened), mend=mend)

    def _parsed(self) -> tuple[str, str | None, str | None]:
        """Path, configuration and column of labels."""
        rest, _, label = self.name.removeprefix(PREFIX).partition("#")
        path, _, config = rest.partition("@")
        return path, config or None, label or None


@dataclass(frozen=True)
class _Columns:
    """Names of the columns that are read; ``numbers`` only where there is no ``image``."""

    label: str
    image: str | None
    numbers: tuple[str, ...]


@lru_cache(maxsize=8)
def _opened(source: HuggingFace) -> Mapping[str, Any]:
    """The library's tables by split; rows are decoded as they are read."""
    datasets = import_optional("datasets", "datasets", f"data set {source.name!r}")
    path, config, _ = source._parsed()
    with reading(source.name):
        folder = Path(path).expanduser()
        if any((folder / file).is_file() for file in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(str(folder))
        else:
            found = datasets.load_dataset(str(folder) if folder.is_dir() else path, config)
        return dict(found) if isinstance(found, Mapping) else {"train": found}


@lru_cache(maxsize=8)
def _columns(source: HuggingFace) -> _Columns:
    datasets, opened, (_, _, asked) = (
        import_optional("datasets", "datasets", f"data set {source.name!r}"),
        _opened(source),
        source._parsed(),
    )
    features: Mapping[str, Any] = opened[source._split("train")].features
    classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    label = asked or (classes[0] if len(classes) == 1 else "label")
    if label not in features:
        mend = f"name one of its columns, {sorted(features)}, as in {source.name.partition('#')[0]}#COLUMN"
        raise UserError(f"{source.name}: no single column of labels", value=asked or classes, mend=mend)
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    numbers = tuple(
        name
        for name, kind in features.items()
        if name not in (label, *classes) and str(getattr(kind, "dtype", "")).startswith(_NUMBERS)
    )
    if len(images) > 1 or not (images or numbers):
        mend = "it must have one column of images, or columns of numbers"
        raise UserError(f"{source.name}: inputs cannot be told from its columns", value=sorted(features), mend=mend)
    return _Columns(label, images[0] if images else None, () if images else numbers)


@lru_cache(maxsize=8)
def _info(source: HuggingFace) -> DataInfo:
    columns = _columns(source)
    with reading(source.name):
        train = _opened(source)["train"]
        count = getattr(train.features[columns.label], "num_classes", None)
        classes = int(count) if count is not None else int(np.max(train[columns.label])) + 1
        if columns.image is None:
            return DataInfo((len(columns.numbers),), classes)
        return DataInfo(_image(source.name, train[0][columns.image], None).shape, classes)


def _image(name: str, picture: Any, shape: tuple[int, ...] | None) -> NDArray[np.uint8]:
    """A picture as bytes ``[C, H, W]``; ``shape`` is what it must have."""
    pixels = np.asarray(picture)
    pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or (shape is not None and pixels.shape != shape):
        mend = f"images must be bytes, all of one size{'' if shape is None else f', here {shape}'}: resize them first"
        raise UserError(f"{name}: an image of another form", value=(str(pixels.dtype), pixels.shape), mend=mend)
    return pixels
