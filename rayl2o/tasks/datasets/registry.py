"""Data sets by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rayl2o.errors import unknown_name
from rayl2o.tasks.datasets import hugging_face, torchvision_sets
from rayl2o.tasks.datasets.base import FileSource, Source
from rayl2o.tasks.datasets.cifar import Cifar10, Cifar100
from rayl2o.tasks.datasets.digits import Digits
from rayl2o.tasks.datasets.hugging_face import HuggingFace
from rayl2o.tasks.datasets.mnist import Mnist
from rayl2o.tasks.datasets.torchvision_sets import Torchvision

FILE_SOURCES: Mapping[str, FileSource] = MappingProxyType(
    {
        "mnist": Mnist("mnist", "mnist"),
        "fashion-mnist": Mnist("fashion-mnist", "fashion-mnist"),
        "cifar10": Cifar10(),
        "cifar100": Cifar100(),
        "cifar100-coarse": Cifar100("cifar100-coarse", coarse=True),
    }
)
"""Data sets that are read from files of their publisher."""

SOURCES: Mapping[str, Source] = MappingProxyType({"digits": Digits(), **FILE_SOURCES})
"""Data sets that every installation knows by name."""


def source_of(name: str) -> Source:
    """The source of a data set: one of :data:`SOURCES`, ``hf:...`` or ``torchvision:...``.

    Raises:
        UserError: If there is no such data set.
    """
    if name.startswith(hugging_face.PREFIX):
        return HuggingFace(name)
    if name.startswith(torchvision_sets.PREFIX):
        return Torchvision(name)
    if name not in SOURCES:
        raise unknown_name("data set", name, SOURCES)
    return SOURCES[name]


def file_source(name: str) -> FileSource | None:
    """The source of a data set that is read from files of its publisher; None if it is of another kind.

    Raises:
        UserError: If there is no such data set.
    """
    source_of(name)
    return FILE_SOURCES.get(name)
