"""Tables with a known answer, and an engine that says what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rayl2o.benchmark.fronts import Rows
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var
from rayl2o.rules.operands import Variable
from rayl2o.symbolic.engines.base import Budget, Data, Floats, Pmap

G0, G1 = Var(Variable("g0")), Var(Variable("g1"))


def scaled(weight: float) -> Expression:
    """``weight g0``."""
    return Expression(Binary("*", Const(weight), G0))


def exponential(weight: float = 1.0) -> Expression:
    """``exp(weight g0)``."""
    inner: Node = G0 if weight == 1.0 else Binary("*", Const(weight), G0)
    return Expression(Unary("exp", inner))


def rows_of(answer: Callable[[Floats], Floats], count: int = 80) -> Rows:
    """Three tables of 20 lags of white noise."""

    def data(seed: int) -> Data:
        x = np.random.default_rng(seed).standard_normal((count, 20))
        return Data(tuple(f"g{lag}" for lag in range(20)), x, answer(x), np.arange(count) // 8)

    return Rows(data(0), data(1), data(2))


@dataclass(frozen=True)
class Says:
    """Hands over the formulas of its search seed."""

    name: ClassVar[str] = "says"

    by_seed: tuple[tuple[Expression, ...], ...]

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        return self.by_seed[seed]
