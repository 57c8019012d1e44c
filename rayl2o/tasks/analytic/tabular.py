"""Real tables that come with scikit-learn, as standardised columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from rayl2o.errors import unknown_name
from rayl2o.seeds import derive_seed
from rayl2o.tasks.data import DataSet

TABLE_SPLITS = ("all", "train", "test")
_TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class TableInfo:
    """What is known of a table without reading it.

    Attributes:
        examples: N, rows of the whole table.
        features: F, columns.
        classes: Number of labels, 0..classes-1.
    """

    examples: int
    features: int
    classes: int

    def count(self, split: str) -> int:
        """Rows of one of :data:`TABLE_SPLITS`."""
        train = round(_TRAIN_SHARE * self.examples)
        return {"all": self.examples, "train": train, "test": self.examples - train}[split]


TABLES: Mapping[str, TableInfo] = MappingProxyType(
    {"breast_cancer": TableInfo(569, 30, 2), "iris": TableInfo(150, 4, 3), "wine": TableInfo(178, 13, 3)}
)


def load_table(
    name: str, split: str = "all", *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> DataSet:
    """A split of a table: every column with mean 0 and variance 1 over the rows that are trained on.

    ``train`` are the four fifths of the rows whose index hashes lowest, ``test`` the others, both scaled by the mean and
    deviation of ``train``; ``all`` is the whole table, scaled by its own.

    Raises:
        UserError: If the name or the split is unknown.
    """
    table_info(name)
    if split not in TABLE_SPLITS:
        raise unknown_name("split", split, TABLE_SPLITS)
    return _converted(name, split, str(device), dtype)


def table_info(name: str) -> TableInfo:
    """Sizes of a table, without reading it.

    Raises:
        UserError: If there is no such table.
    """
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    return TABLES[name]


@lru_cache(maxsize=16)
def _converted(name: str, split: str, device: str, dtype: torch.dtype) -> DataSet:
    values, labels = _read(name)
    rows = _rows(name, split)
    trained_on = values[rows if split == "all" else _rows(name, "train")]
    scaled = (values[rows] - trained_on.mean(0)) / trained_on.std(0)
    return DataSet(
        torch.from_numpy(scaled).to(device, dtype), torch.from_numpy(labels[rows]).to(device), TABLES[name].classes
    )


def _rows(name: str, split: str) -> NDArray[np.int64]:
    """Row numbers of a split, in an order that no version of numpy or torch changes."""
    table = TABLES[name]
    order = range(table.examples)
    if split != "all":
        order_by_hash = sorted(order, key=lambda index: derive_seed(f"{name} split", index))
        cut = table.count("train")
        return np.array(order_by_hash[:cut] if split == "train" else order_by_hash[cut:])
    return np.array(order)


@lru_cache(maxsize=4)
def _read(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The table as it comes: values ``[N, F]`` and labels ``[N]``."""
    from sklearn import datasets  # slow to import, and few tasks need it

    values, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return values.astype(np.float64), labels.astype(np.int64)
