"""Whatever an engine does, what leaves the search is scored, rounded and guarded by us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Signal
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.engines.base import Budget, Data, Engine, Pmap
from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.engines.linear import Linear
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.guards import ASCENT, NOT_MONOTONE
from rayl2o.symbolic.search import merged, search
from rayl2o.symbolic.table import make_table, operands_of
from rayl2o.symbolic.tables import Tables
from tests.symbolic.recorded import recorded

TRUE = SymbolicRule.from_formula("-0.1*q - 0.2*ema(q, 0.9)")


@pytest.fixture(scope="module")
def tables() -> Tables:
    parts = [make_table(recorded(TRUE, seed=s, noise=0.01), operands_of("dm"), rows=800) for s in range(3)]
    return Tables(parts[0], parts[1], parts[2], parts[2])


@dataclass(frozen=True)
class Says:
    """An engine that answers what it is told to."""

    name: ClassVar[str] = "says"

    answer: Callable[[Data, int], Sequence[Any]]

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        return cast(Sequence[Expression], self.answer(train, seed))


def _says(*texts: str) -> Engine:
    return Says(lambda data, seed: [parse_expression(text, data.names) for text in texts])


def test_scales_are_folded_back_and_constants_rounded(tables: Tables) -> None:
    best = search(tables, Linear()).front.candidates[-1]
    terms = best.expression.linear_terms()
    assert terms is not None
    assert terms[Signal("q")] == pytest.approx(-0.1, rel=0.02)
    assert terms[Ema("q", 0.9)] == pytest.approx(-0.2, rel=0.02)
    assert all(len(f"{abs(value):e}".split("e")[0].rstrip("0")) <= 7 for value in best.expression.constants)
    assert best.r2_test is not None
    assert best.r2_test == pytest.approx(best.r2_stretched)
    assert best.r2 == best.r2_test


def test_test_rows_choose_nothing(tables: Tables) -> None:
    spoilt = replace(tables, test=replace(tables.val, y=-tables.val.y), stretched=None)
    one, other = (search(each, Linear()).front for each in (tables, spoilt))
    assert [c.expression for c in one.candidates] == [c.expression for c in other.candidates]
    assert other.candidates[-1].r2 < 0 < one.candidates[-1].r2


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), np.linalg.LinAlgError("singular"), MemoryError()])
def test_an_engine_that_crashes_is_a_clear_error(tables: Tables, error: Exception) -> None:
    def crash(data: Data, seed: int) -> Sequence[Any]:
        raise error

    with pytest.raises(UserError, match=f"engine 'says' failed.*{type(error).__name__}"):
        search(tables, Says(crash))


NONSENSE: dict[str, Any] = {
    "none": None,
    "text": "-0.1*x0",
    "a number": 1.0,
    "a list": [1, 2],
    "an unknown column": parse_expression("x99", ("x99",)),
    "a signal of its own": parse_expression("-0.1*g"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_dropped_and_named(tables: Tables, what: str) -> None:
    good = _says("-x1 - x9")
    engine = Says(lambda data, seed: [NONSENSE[what], *good.fit(data, data, Budget(), seed)])
    found = search(tables, engine)
    assert len(found.dropped) == 1
    assert len(found.front.candidates) == 1
    with pytest.raises(UserError, match="found no formula"):
        search(tables, Says(lambda data, seed: [NONSENSE[what]]))
    with pytest.raises(UserError, match="found no formula"):
        search(tables, Says(lambda data, seed: []))


def test_unsound_formulas_are_refused_not_lost(tables: Tables) -> None:
    found = search(tables, _says("x1", "-x1", "-x1 - 1e9*square(square(x1))*x1", "-sinh(sinh(5*x1))", "0.1 - 0*x1"))
    assert [c.expression.operands for c in found.front.candidates] == [(Signal("q"),)]
    assert {reason.name for c in found.front.refused for reason in c.refused} & {ASCENT, NOT_MONOTONE}
    assert all(np.isfinite(c.r2_val) for c in found.front.candidates)


def test_the_front_is_monotone_and_within_the_budget(tables: Tables) -> None:
    texts = ["-0.5*x1", "-0.5*x1 - 0.5*x9", "-0.5*x1 - 0.5*x9 - 0.001*x10", "-0.5*x1 - 0.5*x9 + tanh(x0 - x0*1.5)"]
    front = search(tables, _says(*texts), Budget(max_complexity=9)).front
    sizes, fits = [c.complexity for c in front.candidates], [c.r2_val for c in front.candidates]
    assert sizes == sorted(set(sizes))
    assert fits == sorted(fits)
    assert max(sizes) <= 9


def test_seeds_are_merged(tables: Tables) -> None:
    engine = Says(lambda data, seed: [parse_expression(["-0.3*x1", "-0.5*x9 - 0.5*x1"][seed], data.names)])
    alone = [search(tables, engine, seeds=(seed,)).front for seed in (0, 1)]
    both = search(tables, engine, seeds=(0, 1)).front
    assert len(both.candidates) == 2
    assert {c.expression for c in both.candidates} == {c.expression for f in alone for c in f.candidates}


def test_merging_keeps_who_found_it_and_the_better(tables: Tables) -> None:
    one, other = search(tables, Linear()).front, search(tables, _says("-0.01*x1")).front
    whole = merged([one, other])
    assert [c.engine for c in whole.candidates] == ["linear"] * len(one.candidates)
    assert {c.engine for c in whole.refused} >= {"says"}
    assert merged([one]) == Front(one.candidates, one.refused)


SMALL = Evolved(generations=2, population=40, islands=2, rows=400, polish=2)


def test_the_default_engine_finds_what_is_not_linear() -> None:
    rule = SymbolicRule.from_formula("-0.1*tanh(2*g_tilde) - 0.05*ema(g_tilde, 0.9)")
    parts = [make_table(recorded(rule, seed=s), operands_of("dm", signals=("g_tilde",)), rows=800) for s in range(3)]
    tables = Tables(*parts)
    front = search(tables, SMALL).front
    straight = search(tables, Linear()).front
    assert front.candidates[-1].r2 > 0.99 > straight.candidates[-1].r2
    assert front == search(tables, SMALL).front
    assert all(c.stable for c in front.candidates)
