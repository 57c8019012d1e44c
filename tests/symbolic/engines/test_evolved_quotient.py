"""Quotients: derivatives, exact recovery, and that what is shipped is what was searched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rayl2o.rules.nodes import Node, Unary
from rayl2o.symbolic.engines.base import Data
from rayl2o.symbolic.engines.evolved_member import stacked
from rayl2o.symbolic.engines.evolved_quotient import Parts, Quotient, _State, grow, nodes_of, pruned, refine, starts
from rayl2o.symbolic.engines.evolved_values import columns_of, values
from rayl2o.symbolic.engines.terms import Grammar
from tests.symbolic.engines.tables import table


def _truth(power: float) -> Data:
    return table(lambda x: (x[:, 0] - 0.5 * x[:, 1]) / (0.1 + x[:, 0] ** 2 + 0.5 * x[:, 2] ** 2) ** power)


def _parts(data: Data) -> Parts:
    leaves, columns = Grammar(data.names).leaves, columns_of(data)
    under: tuple[Node, ...] = tuple(Unary(op, leaf) for op in ("square", "abs") for leaf in leaves)
    x = stacked(under, columns)
    mean = x.mean(axis=0)
    return Parts(
        tuple(leaves), stacked(leaves, columns), np.full(5, 4.0), under, x / mean, mean, np.full(10, 5.0), data.y
    )


QUOTIENT = Quotient((0, 1, 3), (0, 2, 7), (-2.0, 0.3, -1.0), 0.7, free=True)


def test_slopes() -> None:
    """Of the answer at fixed weights, against central differences in the logarithms."""
    parts = _parts(_truth(0.5))
    state = _State.of(parts, QUOTIENT)
    slopes = state.slopes()

    def answer(logs: tuple[float, ...], power: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        at = _State.of(parts, replace(QUOTIENT, logs=logs, power=power))
        return np.asarray(parts.over_x[:, QUOTIENT.over] @ state.weights * at.divisor**-power)

    step = 1e-5
    for i in range(3):
        up, down = (tuple(v + s * (i == j) for j, v in enumerate(QUOTIENT.logs)) for s in (step, -step))
        wanted = (answer(up, 0.7) - answer(down, 0.7)) / (2 * step)
        np.testing.assert_allclose(slopes[:, i], wanted, rtol=1e-5, atol=1e-9)
    wanted = (answer(QUOTIENT.logs, 0.7 * np.exp(step)) - answer(QUOTIENT.logs, 0.7 * np.exp(-step))) / (2 * step)
    np.testing.assert_allclose(slopes[:, 3], wanted, rtol=1e-5, atol=1e-9)


def test_unknowns_go_there_and_back() -> None:
    back = QUOTIENT.at(QUOTIENT.unknowns)
    np.testing.assert_allclose([*back.logs, back.power], [*QUOTIENT.logs, QUOTIENT.power])


def test_refining_is_never_worse() -> None:
    parts = _parts(_truth(1.0))
    assert _State.of(parts, refine(parts, QUOTIENT, 3)).error <= _State.of(parts, QUOTIENT).error


def test_too_few_rows_leave_it_alone() -> None:
    parts = _parts(_truth(1.0))
    few = replace(parts, over_x=parts.over_x[:3], under_x=parts.under_x[:3], y=parts.y[:3])
    assert refine(few, QUOTIENT, 3) == QUOTIENT


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_recovers_a_quotient(power: float) -> None:
    data = _truth(power)
    parts = _parts(data)
    (start,) = starts(parts, 5, 300, {power: 1})
    last = list(grow(parts, start, 60))[-1]
    assert _State.of(parts, last).error < 1e-9 * float(data.y @ data.y)
    small = pruned(parts, last)
    assert (sorted(small.over), sorted(small.under)) == ([0, 1], [0, 2])
    assert _State.of(parts, small).error < 1e-6 * float(data.y @ data.y)


def test_a_free_exponent_is_found() -> None:
    parts = _parts(_truth(0.75))
    start = Quotient((0, 1), (0, 2), (-1.0, 0.0), 0.5, free=True)
    assert refine(parts, start, 60).power == pytest.approx(0.75, abs=1e-3)


def test_ships_what_was_searched() -> None:
    parts = _parts(_truth(0.5))
    for quotient in (QUOTIENT, replace(QUOTIENT, power=0.5, free=False), replace(QUOTIENT, power=1.0)):
        member = quotient.member(parts)
        expression = member.expression()
        assert expression is not None
        wanted = _State.of(parts, quotient).answer
        np.testing.assert_allclose(values(expression.root, columns_of(_truth(0.5))), wanted, rtol=1e-8, atol=1e-10)
        assert expression.complexity <= nodes_of(parts, quotient) + 2


def test_never_crosses_zero() -> None:
    parts = _parts(_truth(0.5))
    member = QUOTIENT.member(parts)
    assert member.divisor is not None
    zero = Data(("x0", "x1", "x2", "x3", "x4"), np.zeros((1, 5)), np.zeros(1))
    assert member.divisor.values(columns_of(zero)) == pytest.approx(member.divisor.floor**0.7)
    assert min(member.divisor.shares) > 0
