"""Templates recover what has their form, and nothing where there is nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.symbolic.engines.base import Budget, Floats
from rayl2o.symbolic.engines.template import Template
from tests.symbolic.engines.tables import r2_of, table

CASES: dict[str, Callable[[Floats], Floats]] = {
    "fir": lambda x: x[:, 0] - 0.3 * x[:, 1],
    "tanh_fir": lambda x: np.tanh(x[:, 0] / 0.7) + 0.5 * np.tanh(x[:, 1] / 0.7),
    "ratio": lambda x: (x[:, 0] + x[:, 1]) / np.sqrt(0.5 + x[:, 0] ** 2 + 2 * x[:, 1] ** 2),
}


@pytest.mark.parametrize("form", CASES)
def test_recovers_its_own_form(form: str) -> None:
    train, test = table(CASES[form], seed=0), table(CASES[form], seed=2)
    front = Template(forms=(form,)).fit(train, train, Budget(max_complexity=80), 0)
    assert r2_of(front[-1], test) > 0.9999
    others = [other for other in CASES if other not in (form, "fir")]
    if form != "fir":
        front = Template(forms=tuple(others)).fit(train, train, Budget(max_complexity=80), 0)
        assert max(r2_of(expression, test) for expression in front) < 0.9999


def test_shuffled_targets_are_not_fitted() -> None:
    train, test = table(CASES["ratio"], rows=2000), table(CASES["ratio"], seed=2)
    shuffled = np.random.default_rng(0).permutation(train.y)
    front = Template().fit(
        type(train)(train.names, train.x, shuffled, train.group), train, Budget(max_complexity=80), 0
    )
    assert max(r2_of(expression, test) for expression in front) < 0.1


def test_within_the_budget_and_repeatable() -> None:
    train = table(CASES["ratio"])
    front = Template().fit(train, train, Budget(max_complexity=20), 0)
    assert 0 < max(expression.complexity for expression in front) <= 20
    assert Template().fit(train, train, Budget(max_complexity=20), 7) == front


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="did you mean 'ratio'"):
        Template(forms=("ration",))
    with pytest.raises(UserError, match="must be positive"):
        Template(counts=(0,))
