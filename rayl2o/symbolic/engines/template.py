"""Formulas of a known form with fitted coefficients: FIR, tanh-FIR (S eq. 6) and a ratio. Never to be reported as discovery.

The ratio was written knowing Adam. On a target of that form its R2 says how much the columns hold, not what a search can find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary
from rayl2o.symbolic.engines.base import Budget, Data, Floats, Pmap
from rayl2o.symbolic.engines.evolved_islands import usable
from rayl2o.symbolic.engines.evolved_member import Member, cost_of, stacked
from rayl2o.symbolic.engines.evolved_quotient import Parts, Quotient, refine
from rayl2o.symbolic.engines.evolved_values import Columns, columns_of
from rayl2o.symbolic.engines.head import Pool, forward, weights
from rayl2o.symbolic.engines.terms import Grammar

FORMS = ("fir", "tanh_fir", "ratio")
_GAMMAS = (0.1, 20.0)


@dataclass(frozen=True)
class Template:
    """Settings.

    Attributes:
        forms: Which of :data:`FORMS`.
        counts: Columns used, the most useful first; all of them as well.
        evaluations: Of the ratio's fit.

    Raises:
        UserError: If a form is unknown or a count is not positive.
    """

    name: ClassVar[str] = "template"

    forms: tuple[str, ...] = FORMS
    counts: tuple[int, ...] = (2, 4, 8, 12, 16, 24)
    evaluations: int = 60

    def __post_init__(self) -> None:
        for form in self.forms:
            if form not in FORMS:
                raise unknown_name("template", form, FORMS)
        if min(self.counts, default=1) < 1:
            raise UserError("the numbers of columns must be positive", value=self.counts, mend="use (2, 4, 8)")

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """See :class:`~rayl2o.symbolic.engines.base.Engine`. Deterministic without a seed.

        Raises:
            UserError: If a column cannot be named in a formula.
        """
        del val, seed, pmap
        columns = columns_of(train)
        leaves = [leaf for leaf in Grammar(train.names).leaves if usable(stacked([leaf], columns))[0]]
        members: list[Member] = []
        with threadpool_limits(1):
            x = stacked(leaves, columns)
            order = forward(Pool(x, np.ones(len(leaves))), train.y, len(leaves))
            for count in sorted({k for k in self.counts if k < len(order)} | {len(order)} - {0}):
                chosen = [leaves[i] for i in sorted(order[:count])]
                members += [self._member(form, chosen, columns, train.y) for form in self.forms]
        found = [expression for member in members if (expression := member.expression()) is not None]
        kept = [expression for expression in found if expression.complexity <= budget.max_complexity]
        return sorted(dict.fromkeys(kept), key=lambda e: e.complexity) or [Expression(Const(0.0))]

    def _member(self, form: str, leaves: Sequence[Node], columns: Columns, y: Floats) -> Member:
        if form == "fir":
            return fir(leaves, columns, y)
        return tanh_fir(leaves, columns, y) if form == "tanh_fir" else ratio(leaves, columns, y, self.evaluations)


def fir(leaves: Sequence[Node], columns: Columns, y: Floats) -> Member:
    """``sum of w x``."""
    return Member(tuple(leaves), ()).with_weights(weights(stacked(leaves, columns), y))


def tanh_fir(leaves: Sequence[Node], columns: Columns, y: Floats) -> Member:
    """``sum of w tanh(x / gamma)``, one gamma of all columns fitted (S eq. 6, its gamma times W written as one w)."""

    def member(log_gamma: float) -> Member:
        scale = Const(float(np.exp(-log_gamma)))
        return fir([Unary("tanh", Binary("*", scale, leaf)) for leaf in leaves], columns, y)

    def error(log_gamma: float) -> float:
        at = member(log_gamma)
        return float(np.sum((stacked(at.terms, columns) @ np.array(at.weights) - y) ** 2))

    bounds = (float(np.log(_GAMMAS[0])), float(np.log(_GAMMAS[1])))
    found = minimize_scalar(error, bounds=bounds, method="bounded", options={"maxiter": 25})
    return member(float(found.x))


def ratio(leaves: Sequence[Node], columns: Columns, y: Floats, evaluations: int) -> Member:
    """``sum of a x / sqrt(floor + sum of q x^2)``, floor and every q positive."""
    under = tuple(Unary("square", leaf) for leaf in leaves)
    squares = stacked(under, columns)
    mean = np.maximum(squares.mean(axis=0), 1e-12)
    cost = [np.array([float(cost_of(term)) for term in part]) for part in (leaves, under)]
    parts = Parts(tuple(leaves), stacked(leaves, columns), cost[0], under, squares / mean, mean, cost[1], y)
    everything = tuple(range(len(leaves)))
    start = Quotient(everything, everything, (float(np.log(1e-3)), *np.zeros(len(leaves) - 1)), 0.5)
    return refine(parts, start, evaluations).member(parts)
