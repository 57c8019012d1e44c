"""Formulas that are filters, taken apart and built: sums of ``c s`` or ``c tanh(k s)`` over lags and averages (S eq. 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var
from rayl2o.rules.operands import Ema, Lag, Operand
from rayl2o.rules.simplify import chain
from rayl2o.symbolic.table import Floats


@dataclass(frozen=True)
class FilterTerm:
    """``weight operand``, or ``weight tanh(inner operand)`` where there is an inner factor."""

    operand: Operand
    weight: float
    inner: float | None = None

    @property
    def slope(self) -> float:
        """Derivative at 0: the coefficient W of eq. 6, whose terms are ``W gamma tanh(operand / gamma)``."""
        return self.weight * (1.0 if self.inner is None else self.inner)

    def node(self) -> Node:
        """The term as a tree."""
        var = Var(self.operand)
        inside = var if self.inner is None else Unary("tanh", Binary("*", Const(self.inner), var))
        return Binary("*", Const(self.weight), inside)


def filter_terms(expression: Expression) -> tuple[FilterTerm, ...] | None:
    """The terms of a linear rule or a tanh filter without offset; None if the formula is anything else."""
    found: list[FilterTerm] = []
    pending: list[tuple[Node, float]] = [(expression.simplify().root, 1.0)]
    while pending:
        node, factor = pending.pop()
        match node:
            case Binary("+" | "-", a, b):
                pending += [(b, factor if node.op == "+" else -factor), (a, factor)]
            case Unary("neg", x):
                pending.append((x, -factor))
            case Binary("*", Const(value), x):
                pending.append((x, factor * value))
            case Var(operand):
                found.append(FilterTerm(operand, factor))
            case Unary("tanh", x):
                inside = filter_terms(Expression(x)) if _is_scaled(x) else None
                if inside is None:
                    return None
                found.append(FilterTerm(inside[0].operand, factor, inside[0].weight))
            case Const(0.0):
                pass
            case _:
                return None
    return tuple(found)


def _is_scaled(node: Node) -> bool:
    """Whether it is an operand times a constant, as simplification leaves it."""
    match node:
        case Var() | Unary("neg", Var()) | Binary("*", Const(), Var()):
            return True
        case _:
            return False


def filter_of(terms: Iterable[FilterTerm]) -> Expression:
    """The sum of the terms; in the canonical linear form if none has a tanh and no operand stands twice."""
    nodes = [term.node() for term in terms]
    return Expression(chain(nodes) if nodes else Const(0.0))


def response_of(operand: Operand, horizon: int) -> Floats:
    """d operand[t] / d signal[t - i], ``[horizon]``."""
    lags = np.arange(horizon)
    if isinstance(operand, Ema):
        return np.asarray((1 - operand.beta) * operand.beta**lags, dtype=np.float64)
    lag = operand.lag if isinstance(operand, Lag) else 0
    return np.asarray(lags == lag, dtype=np.float64)


def responses(terms: Iterable[FilterTerm], horizon: int) -> dict[str, Floats]:
    """Impulse response ``[horizon]`` of the filter at small inputs, by signal; terms of a signal add before any modulus."""
    found: dict[str, Floats] = {}
    for term in terms:
        part = term.slope * response_of(term.operand, horizon)
        signal = term.operand.signal
        found[signal] = found.get(signal, np.zeros(horizon)) + part
    return found


def gains_of(terms: Iterable[FilterTerm]) -> dict[str, float]:
    """Steady-state gain at small inputs, by signal: what a unit signal that never changes is answered with in the end."""
    found: dict[str, float] = {}
    for term in terms:
        signal = term.operand.signal
        found[signal] = found.get(signal, 0.0) + term.slope
    return found
