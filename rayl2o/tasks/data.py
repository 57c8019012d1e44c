"""Data sets as tensors, read once per process; large ones from a store that the processes of a machine share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import torch

from rayl2o.errors import unknown_name
from rayl2o.tasks.datasets.base import DataInfo, DataSet
from rayl2o.tasks.datasets.folder import DATA_VARIABLE
from rayl2o.tasks.datasets.registry import SOURCES, source_of
from rayl2o.tasks.datasets.splits import SPLITS
from rayl2o.tasks.datasets.store import Key, examples_of, in_memory

__all__ = ["DATA", "DATA_VARIABLE", "SPLITS", "DataInfo", "DataSet", "info", "load"]

DATA: Mapping[str, DataInfo] = MappingProxyType({name: source.info for name, source in SOURCES.items()})
"""Sizes of the data sets that every installation knows by name."""


def info(name: str) -> DataInfo:
    """Sizes of a data set, without reading it.

    Raises:
        UserError: If there is no such data set.
    """
    return source_of(name).info


def load(
    name: str,
    split: str = "train",
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> DataSet:
    """A split of a data set; see :data:`SPLITS`.

    Bytes of images are divided by 255 and no mean is subtracted (T, code); ``digits`` has values 0..16 divided by 16.

    Raises:
        UserError: If the name or split is unknown, ``RAYL2O_DATA`` is unset, or a file is missing or damaged.
    """
    source = source_of(name)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    return _converted(name, split, source.digest(SPLITS[split].part), str(device), dtype)


@lru_cache(maxsize=16)
def _converted(name: str, split: str, digest: str | None, device: str, dtype: torch.dtype) -> DataSet:
    chosen, data = SPLITS[split], _ordered(name, SPLITS[split].part, SPLITS[split].shuffled, digest)
    rows = slice(*chosen.range_of(split, len(data.labels)))
    return DataSet(data.inputs[rows].to(device, dtype), data.labels[rows].to(device), data.classes)


@lru_cache(maxsize=6)
def _ordered(name: str, part: str, shuffled: bool, digest: str | None) -> DataSet:
    """A whole part, in one of its two orders."""
    if digest is None:
        return in_memory(source_of(name), part, shuffled)
    return examples_of(source_of(name), Key(name, part, shuffled, digest))
