"""The engine as a whole: known targets recovered, the same front from any number of workers, nothing breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.evaluate.pmap import process_map
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Signal, Variable
from rayl2o.symbolic.engines.base import Budget, Data, Floats
from rayl2o.symbolic.engines.evolved import Evolved, thinned
from rayl2o.symbolic.engines.evolved_values import columns_of, values
from rayl2o.symbolic.linear import pursue
from tests.symbolic.engines.tables import r2_of, table

SMALL = Evolved(generations=6, population=50, islands=1, polish=2)
BUDGET = Budget(cpu_s=60.0, max_complexity=40)


def _fit(
    answer: Callable[[Floats], Floats], engine: Evolved = SMALL, seed: int = 0
) -> tuple[Sequence[Expression], Data]:
    train, val, test = (table(answer, seed=s) for s in (0, 1, 2))
    return engine.fit(train, val, BUDGET, seed), test


@pytest.mark.parametrize(
    ("answer", "nodes"),
    [
        (lambda x: -0.01 * x[:, 0], 3),
        (lambda x: x[:, 0] + 0.5 * x[:, 1] - 0.2 * x[:, 2], 11),
        (lambda x: x[:, 0] ** 2 + x[:, 1] + 2 * x[:, 2] + np.exp(x[:, 4]), 20),
        (lambda x: x[:, 0] / np.sqrt(0.1 + x[:, 1] ** 2), 14),
    ],
    ids=["scaled", "linear", "nonlinear", "quotient"],
)
def test_recovers(answer: Callable[[Floats], Floats], nodes: int) -> None:
    front, test = _fit(answer)
    exact = [expression for expression in front if r2_of(expression, test) > 0.99999]
    assert exact
    assert exact[0].complexity <= nodes


def test_front_grows_and_improves() -> None:
    front, _ = _fit(lambda x: np.tanh(2 * x[:, 0]) * x[:, 1] + 0.3 * x[:, 2])
    val = table(lambda x: np.tanh(2 * x[:, 0]) * x[:, 1] + 0.3 * x[:, 2], seed=1)
    sizes = [expression.complexity for expression in front]
    assert sizes == sorted(set(sizes))
    assert max(sizes) <= BUDGET.max_complexity
    scores = [r2_of(expression, val) for expression in front]
    assert all(later > earlier - 1e-3 for earlier, later in pairwise(scores))
    assert scores[-1] > 0.8


def test_terms_beat_the_linear_fit_they_start_from() -> None:
    def answer(x: Floats) -> Floats:
        return np.asarray(x @ np.array([1.0, 0.5, -0.5, 0.2, 0.1]) + 0.5 * np.tanh(3 * x[:, 0] * x[:, 1]))

    front, test = _fit(answer)
    train = table(answer)
    ((order, weights),) = pursue(train.x, train.y, [5])
    linear = 1 - np.var(test.x[:, order] @ weights - test.y) / np.var(test.y)
    assert r2_of(front[-1], test) > linear + 0.3 * (1 - linear)


def test_same_front_at_one_and_two_workers() -> None:
    def answer(x: Floats) -> Floats:
        return np.asarray(np.tanh(x[:, 0] + x[:, 1]) / (1 + np.abs(x[:, 2])))

    train, val = table(answer), table(answer, seed=1)
    tiny = replace(SMALL, generations=3, islands=2)
    alone = tiny.fit(train, val, BUDGET, 3)
    assert tiny.fit(train, val, BUDGET, 3, process_map(2)) == alone
    assert tiny.fit(train, val, BUDGET, 4) != alone


def test_products_with_time() -> None:
    def timed(seed: int) -> Data:
        base = table(lambda x: (1 + x[:, 4]) * x[:, 0], seed=seed)
        return Data(("x0", "x1", "x2", "x3", "t"), base.x, base.y, base.group)

    front = SMALL.fit(timed(0), timed(1), BUDGET, 0)
    assert r2_of(front[-1], timed(2)) > 0.99999
    assert set(front[-1].operands) == {Variable("x0"), Signal("t")}


def test_offset_only_when_asked() -> None:
    def answer(x: Floats) -> Floats:
        return np.asarray(x[:, 0] + 3.0)

    settings = replace(SMALL, unary=(), polish=0, quotient=False)
    offset, test = _fit(answer, replace(settings, offset=True))
    assert "x0 + 3.0" in [str(expression) for expression in offset]
    plain, _ = _fit(answer, settings)
    assert all(r2_of(expression, test) < 0.99 for expression in plain)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_explodes_on_heavy_tails(seed: int) -> None:
    """Noise with rare huge rows: what rests on them must not be kept."""

    def heavy(s: int) -> Data:
        x = np.random.default_rng(s).standard_t(2, (400, 4)) / 3
        y = np.tanh(x[:, 0]) + 0.3 * np.random.default_rng(s + 50).standard_t(3, 400)
        return Data(("x0", "x1", "x2", "x3"), x, y, np.arange(400) // 40)

    front = SMALL.fit(heavy(seed), heavy(seed + 10), BUDGET, seed)
    for other in (20, 30):
        assert all(r2_of(expression, heavy(seed + other)) > -0.1 for expression in front)


def test_constant_and_copied_columns() -> None:
    def awkward(seed: int) -> Data:
        data = table(lambda x: x[:, 0] + 0.1 * x[:, 1], seed=seed)
        data.x[:, 3], data.x[:, 4] = 2.0, data.x[:, 0]
        return data

    assert r2_of(SMALL.fit(awkward(0), awkward(1), BUDGET, 0)[-1], awkward(2)) > 0.99999
    flat = Data(("x0",), np.ones((20, 1)), np.arange(20.0))
    assert str(SMALL.fit(flat, flat, BUDGET, 0)[0]) == "0.0"
    zero = Data(("x0",), np.arange(20.0)[:, None], np.zeros(20))
    assert all(np.all(values(e.root, columns_of(zero)) == 0) for e in SMALL.fit(zero, zero, BUDGET, 0))


@pytest.mark.parametrize("rows", [1, 5])
def test_few_rows(rows: int) -> None:
    data = table(lambda x: x[:, 0], rows=20)
    few = Data(data.names, data.x[:rows], data.y[:rows], None)
    assert SMALL.fit(few, few, BUDGET, 0)


def test_rows_are_thinned_evenly() -> None:
    data = table(lambda x: x[:, 0])
    assert thinned(data, 1000) is data
    some = thinned(data, 60)
    assert len(some.y) == 60
    assert some.group is not None
    assert len(np.unique(some.group)) == 10


def test_bad_input() -> None:
    data = table(lambda x: x[:, 0])
    with pytest.raises(UserError, match="bad name of a column"):
        SMALL.fit(replace(data, names=("a b", "x1", "x2", "x3", "x4")), data, BUDGET, 0)
    with pytest.raises(UserError, match="without rows"):
        SMALL.fit(Data(("x0",), np.zeros((0, 1)), np.zeros(0)), data, BUDGET, 0)
    with pytest.raises(UserError, match="did you mean 'tanh'"):
        Evolved(unary=("tan",))
    with pytest.raises(UserError, match="must be positive"):
        Evolved(islands=0)
    with pytest.raises(UserError, match="must not be negative"):
        Evolved(polish=-1)
