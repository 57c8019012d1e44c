"""What an engine of symbolic regression sees, and what it hands over. Nothing of what it says of itself is trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rayl2o.rules.expression import Expression

Floats = NDArray[np.float64]
Pmap = Callable[..., Iterable[Any]]
"""An ordered map over independent calls: ``map`` itself, or one that spreads them over processes."""


@dataclass(frozen=True)
class Data:
    """Rows to fit. Columns and target have about unit variance (the caller scales, and folds the scales back).

    Attributes:
        names: P names of columns; an expression refers to column i by ``column_operand(names[i])``: a ``Variable``, or the signal
            of that name (``t``, ``g``).
        x: float64 ``[R, P]``, finite.
        y: float64 ``[R]``, finite.
        group: int64 ``[R]``, which run or block a row is from: folds never split a group. None: rows stand alone.
    """

    names: tuple[str, ...]
    x: Floats
    y: Floats
    group: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Budget:
    """What a search may spend.

    Attributes:
        cpu_s: CPU seconds of the whole search, all islands together; checked between generations. An engine that must be
            repeatable counts generations instead and treats this as a ceiling.
        max_complexity: Nodes of the largest formula.
    """

    cpu_s: float = 10.0
    max_complexity: int = 60


class Engine(Protocol):
    """A frozen dataclass of settings. Equal arguments give equal formulas, whatever ``pmap`` and the number of threads."""

    name: ClassVar[str]

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """Formulas of growing complexity over ``Variable`` leaves, in the scaled units of ``train``.

        ``val`` (other groups) may be used to choose, never to fit. Too many are better than too few: the caller re-scores all
        of them and keeps the front.
        """
