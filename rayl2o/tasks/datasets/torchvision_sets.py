"""Data sets that torchvision has put under ``$RAYL2O_DATA``: ``torchvision:MNIST``. Nothing is downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from rayl2o.errors import UserError, unknown_name
from rayl2o.tasks.datasets.base import DataInfo, Examples
from rayl2o.tasks.datasets.folder import DATA_VARIABLE, data_root
from rayl2o.tasks.datasets.reading import reading
from rayl2o.tasks.optional_library import import_optional

PREFIX = "torchvision:"
_GREY, _COLOUR = (1, 28, 28), (3, 32, 32)

CLASSES: Mapping[str, DataInfo] = MappingProxyType(
    {
        "MNIST": DataInfo(_GREY, 10),
        "FashionMNIST": DataInfo(_GREY, 10),
        "KMNIST": DataInfo(_GREY, 10),
        "CIFAR10": DataInfo(_COLOUR, 10),
        "CIFAR100": DataInfo(_COLOUR, 100),
    }
)
"""What is read, by the name of its class in ``torchvision.datasets``."""


@dataclass(frozen=True)
class Torchvision:
    """A data set as torchvision lays it out in the data folder (``MNIST/raw/...``, ``cifar-10-batches-py/...``).

    CIFAR is pickled there: torchvision unpickles it, after it has compared checksums. Our own ``cifar10`` reads plain bytes.

    Attributes:
        name: ``torchvision:`` and a name of :data:`CLASSES`.

    Raises:
        UserError: If there is no such class.
    """

    name: str

    def __post_init__(self) -> None:
        if self._class not in CLASSES:
            raise unknown_name("data set of torchvision", self._class, CLASSES)

    @property
    def _class(self) -> str:
        return self.name.removeprefix(PREFIX)

    @property
    def info(self) -> DataInfo:
        """Known by name; neither the library nor its files are needed."""
        return CLASSES[self._class]

    def digest(self, part: str) -> str | None:
        """Of the examples; found once per process, as torchvision has to read them for it."""
        return _digest(self, part, data_root(self.name))

    def read(self, part: str) -> Examples:
        """All examples of a part, bytes.

        Raises:
            UserError: If torchvision is not installed, its files are not there, or they are not what they should be.
        """
        module, root = (
            import_optional("torchvision.datasets", "torchvision", f"data set {self.name!r}"),
            data_root(self.name),
        )
        with reading(self.name):
            try:
                found = getattr(module, self._class)(root=str(root), train=part == "train", download=False)
            except RuntimeError as error:
                mend = f"have torchvision put it into ${DATA_VARIABLE} (root={root}, download=True)"
                raise UserError(f"torchvision does not find a data set ({error})", value=self.name, mend=mend) from None
            inputs, labels = np.asarray(found.data), np.asarray(found.targets, dtype=np.int64)
        shape = self.info.shape
        if inputs.ndim == 4:  # colour comes last there
            inputs = inputs.transpose(0, 3, 1, 2)
        if inputs.dtype != np.uint8 or inputs.size != len(labels) * self.info.features or labels.ndim != 1:
            mend = f"bytes of shape {shape} and a label each are expected; use another version of torchvision"
            raise UserError(
                f"{self.name} has images of another form", value=(str(inputs.dtype), inputs.shape), mend=mend
            )
        return Examples(np.ascontiguousarray(inputs.reshape(len(labels), -1)), labels)


@lru_cache(maxsize=8)
def _digest(source: Torchvision, part: str, root: Path) -> str:  # noqa: ARG001
    examples = source.read(part)
    total = hashlib.sha256(examples.inputs.data)
    total.update(examples.labels.data)
    return total.hexdigest()
