"""Small tables with known answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rayl2o.symbolic.engines.base import Data, Floats
from rayl2o.symbolic.engines.evolved_values import columns_of, values


def table(answer: Callable[[Floats], Floats], rows: int = 600, width: int = 5, seed: int = 0, names: str = "x") -> Data:
    """Unit normal columns ``x0 ..``, ten groups, and ``answer(x)``."""
    x = np.random.default_rng(seed).standard_normal((rows, width))
    return Data(tuple(f"{names}{i}" for i in range(width)), x, answer(x), np.arange(rows) // (rows // 10))


def r2_of(expression: object, data: Data) -> float:
    """Of an expression on a table."""
    predicted = values(expression.root, columns_of(data))  # type: ignore[attr-defined]
    return float(1 - np.mean((predicted - data.y) ** 2) / np.var(data.y))
