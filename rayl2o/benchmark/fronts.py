"""What an engine of symbolic regression hands over, scored by us on rows that chose nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayl2o.rules.expression import Expression
from rayl2o.symbolic.engines.asking import ask, understood
from rayl2o.symbolic.engines.base import Budget, Data, Engine, Pmap
from rayl2o.symbolic.engines.cpu_time import cpu_time
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.regress import values

STRETCH = 3.0
"""Inputs are stretched so much to see whether a formula explodes."""


@dataclass(frozen=True)
class Rows:
    """Three tables of one target, from different runs: to fit, to choose by, and to score on."""

    train: Data
    val: Data
    test: Data


@dataclass(frozen=True)
class Member:
    """A formula of a front, unclamped.

    Attributes:
        nodes: Of its tree.
        r2_val, r2_test: On the rows that choose, and on those that do not.
        growth: Largest answer to :data:`STRETCH` times the test inputs, over max abs y of these rows; inf if one is not finite.
    """

    nodes: int
    r2_val: float
    r2_test: float
    growth: float


@dataclass(frozen=True)
class Fit:
    """What one search found, by nodes, and the CPU seconds it took, child processes included."""

    expressions: tuple[Expression, ...]
    members: tuple[Member, ...]
    cpu_s: float

    def chosen(self, nodes: int) -> Member | None:
        """The member of the best validation R2 within so many nodes, the smallest of equals; None if none is finite there."""
        within = [member for member in self.members if member.nodes <= nodes and math.isfinite(member.r2_val)]
        return max(within, key=lambda member: (member.r2_val, -member.nodes), default=None)

    @property
    def worst_fall(self) -> float:
        """How far a member falls below a simpler one on the test rows although validation prefers it; inf if none is finite."""
        chosen, best, fall = -math.inf, -math.inf, 0.0
        for member in self.members:
            if member.r2_val > chosen:
                fall = max(fall, best - member.r2_test)
                chosen, best = member.r2_val, max(best, member.r2_test)
        return fall if math.isfinite(best) else math.inf


def fitted(engine: Engine, rows: Rows, budget: Budget, seed: int, pmap: Pmap = map) -> Fit:
    """Runs a search and scores all that it says by our evaluator.

    Raises:
        UserError: If the engine fails.
    """
    begun = cpu_time()
    found, _ = understood(ask(engine, rows.train, rows.val, budget, seed, pmap), lambda expression: expression)
    cpu_s = cpu_time() - begun
    expressions = tuple(sorted(found, key=lambda expression: expression.complexity))
    return Fit(expressions, tuple(_scored(expression, rows) for expression in expressions), cpu_s)


def _scored(expression: Expression, rows: Rows) -> Member:
    limit = max(float(np.abs(rows.test.y).max(initial=0.0)), 1e-300)
    far = np.abs(values(expression, rows.test, STRETCH)).max(initial=0.0)
    return Member(
        expression.complexity,
        r2(rows.val.y, values(expression, rows.val)),
        r2(rows.test.y, values(expression, rows.test)),
        float(far) / limit if np.isfinite(far) else math.inf,
    )


def worst(values: Sequence[float]) -> float:
    """The lowest; nan if there is none."""
    return min(values, default=math.nan)
