from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.parse import parse_expression
from rayl2o.symbolic.engines.base import Budget, Data, Pmap
from rayl2o.symbolic.engines.registry import engine
from rayl2o.symbolic.regress import Columns, regress

DRAWS = np.random.default_rng(3)
X = DRAWS.normal(size=(400, 3)) * [1.0, 50.0, 0.01] + [0.0, 10.0, 0.0]
TABLE = Columns(("a", "speed", "t"), X, 3.0 * X[:, 0] - 0.2 * X[:, 1] + 7.0)


@dataclass(frozen=True)
class Says:
    """An engine that says what it is told to, in the names of its columns."""

    name: ClassVar[str] = "says"

    formulas: tuple[str, ...]

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """The formulas."""
        assert len(train.y) == 300
        assert len(val.y) == 100
        assert train.x.std(0) == pytest.approx(1.0, abs=0.1)
        return [parse_expression(text, columns=train.names) for text in self.formulas]


def test_a_linear_law_is_found_in_the_tables_units() -> None:
    found = regress(TABLE, engine("linear"), Budget(5.0, 30))
    best = found.front[found.recommended]
    assert best.mse_train < 1e-7
    assert best.r2 == pytest.approx(1.0)
    assert best.stable
    assert [one.expression.complexity for one in found.front] == sorted(
        one.expression.complexity for one in found.front
    )


def test_a_formula_is_scored_in_the_tables_units_whatever_the_engine_says() -> None:
    scale, spread = X.std(0).tolist(), float(TABLE.y.std())
    exact = f"{3 * scale[0] / spread!r}*a - {0.2 * scale[1] / spread!r}*speed + {7 / spread!r}"
    test = Columns(TABLE.names, 2 * X, 3.0 * 2 * X[:, 0] - 0.2 * 2 * X[:, 1] + 7.0)
    found = regress(TABLE, Says(("a", exact, "a + t + a + t + a + t + a + t")), Budget(), test=test, offset=False)
    assert str(found.front[0].expression).count("a") == 1
    best = found.front[1]
    assert len(found.front) == 2  # the longest is worse than a shorter one
    assert best.mse_train == pytest.approx(0.0, abs=1e-8)  # constants are rounded
    assert best.mse_test == pytest.approx(0.0, abs=1e-8)
    assert found.recommended == 1


def test_what_blows_up_is_flagged_and_not_recommended() -> None:
    table = replace(TABLE, y=np.exp(np.clip(X[:, 0], -4, 4)))
    spread, size = float(table.y.std()), float(X[:, 0].std())
    wild = f"exp(2*abs(a))*0.001 + exp(a*{size!r})/{spread!r}"
    found = regress(table, Says(("a", wild)), Budget(), offset=False)
    assert [one.stable for one in found.front] == [True, False]
    assert found.recommended == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x": np.where(X[7, 1] == X, np.nan, X)}, "'speed' holds what is not a finite number, first in row 7"),
        ({"y": np.full(400, 2.0)}, "does not vary"),
        ({"x": np.ones((400, 3))}, "no input column varies"),
        ({"x": X[:30], "y": TABLE.y[:30]}, "too few rows"),
        ({"names": ("a", "b c", "t")}, "b c"),
    ],
)
def test_what_cannot_be_fitted_is_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        regress(replace(TABLE, **changes), Says(("a",)), Budget())  # type: ignore[arg-type]


def test_a_constant_column_does_no_harm() -> None:
    table = replace(TABLE, x=np.column_stack((X[:, :2], np.full(400, 5.0))))
    assert regress(table, engine("linear"), Budget(5.0, 30)).front[-1].mse_train < 1e-7


def test_another_tests_columns_are_refused() -> None:
    with pytest.raises(UserError, match="other columns"):
        regress(TABLE, Says(("a",)), Budget(), offset=False, test=replace(TABLE, names=("a", "t", "speed")))
