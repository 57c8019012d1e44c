"""One formula of the evolved engine before it is written out: a weighted sum of terms, perhaps over a power of a positive sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary
from rayl2o.rules.operators import SATURATION
from rayl2o.rules.simplify import chain
from rayl2o.symbolic.engines.base import Floats
from rayl2o.symbolic.engines.evolved_values import Columns, values
from rayl2o.symbolic.engines.terms import size

NODES_PER_TERM = 3
"""What a term adds beside its own nodes: a weight, a product, a plus."""


@dataclass(frozen=True)
class Divisor:
    """``(floor + sum of share x term) ** power``: terms are nowhere negative and shares positive, so it never crosses 0.

    Attributes:
        terms: Squares, magnitudes and the like.
        shares: Positive, one per term.
        floor: Positive.
        power: Exponent.
    """

    terms: tuple[Node, ...]
    shares: tuple[float, ...]
    floor: float
    power: float

    def values(self, columns: Columns) -> Floats:
        """``[R]``."""
        return values(self.node(), columns)

    def node(self) -> Node:
        """As it is shipped."""
        parts = [_weighted(share, term) for share, term in zip(self.shares, self.terms, strict=True)]
        total = chain([*parts, Const(self.floor)])
        if self.power == 1.0:
            return total
        return Unary("ssqrt", total) if self.power == 0.5 else Binary("spow", total, Const(self.power))


@dataclass(frozen=True)
class Member:
    """``sum of weight x term``, over ``divisor`` if there is one."""

    terms: tuple[Node, ...]
    weights: tuple[float, ...]
    divisor: Divisor | None = None

    def columns(self, columns: Columns) -> Floats:
        """What the weights multiply, ``[R, K]``."""
        parts = stacked(self.terms, columns)
        return parts if self.divisor is None else parts / self.divisor.values(columns)[:, None]

    def node(self) -> Node:
        """As it is shipped, before it is simplified."""
        total = chain([_weighted(w, term) for w, term in zip(self.weights, self.terms, strict=True)] or [Const(0.0)])
        return total if self.divisor is None else Binary("/", total, self.divisor.node())

    def expression(self) -> Expression | None:
        """The formula with like terms merged; None where a constant or its size is beyond the limits of formulas."""
        try:
            return Expression(self.node()).simplify()
        except ValueError:
            return None

    def with_weights(self, weights: Floats) -> Member:
        """The same terms with other weights."""
        return replace(self, weights=tuple(float(w) for w in np.clip(weights, -SATURATION, SATURATION)))


def stacked(terms: Sequence[Node], columns: Columns) -> Floats:
    """The terms as columns ``[R, K]``."""
    rows = len(next(iter(columns.values())))
    table = np.empty((rows, len(terms)), order="F")
    for i, term in enumerate(terms):
        table[:, i] = values(term, columns)
    return table


def cost_of(term: Node) -> int:
    """Nodes that the term adds to a sum."""
    return size(term) + NODES_PER_TERM


def _weighted(weight: float, term: Node) -> Node:
    if isinstance(term, Const):
        return Const(weight * term.value)
    return Binary("*", Const(weight), term)
