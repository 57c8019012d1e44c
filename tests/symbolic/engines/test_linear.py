"""The linear engine on a table: sparse sums within the budget, and all columns by ridge."""

from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.operands import Variable
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.linear import Linear
from tests.symbolic.engines.tables import table

DATA = table(lambda x: x[:, 0] + 0.5 * x[:, 1] - 0.2 * x[:, 2] + 1e-4 * x[:, 3] + 1e-5 * x[:, 4])


def test_recovers_a_sum_and_gives_the_ridge_too() -> None:
    front = Linear().fit(DATA, DATA, Budget(), 0)
    assert [expression.complexity for expression in front] == [3, 7, 11, 15, 19]
    assert front[2].linear_terms() == pytest.approx(
        {Variable("x0"): 1.0, Variable("x1"): 0.5, Variable("x2"): -0.2}, abs=1e-4
    )


def test_within_the_budget() -> None:
    front = Linear().fit(DATA, DATA, Budget(max_complexity=8), 0)
    assert [expression.complexity for expression in front] == [3, 7]
    assert [str(e) for e in Linear().fit(DATA, DATA, Budget(max_complexity=2), 0)] == ["0.0"]


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="numbers of terms"):
        Linear(terms=(0,))
    with pytest.raises(UserError, match="ridge"):
        Linear(ridge=0.0)
