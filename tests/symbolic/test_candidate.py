"""A candidate's scores are ours, on the rows they name; its JSON reads back and refuses nonsense."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.candidate import Candidate, assess, predict
from rayl2o.symbolic.guards import ASCENT, Reason
from rayl2o.symbolic.sampling import EARLY
from rayl2o.symbolic.table import Table, make_table, operands_of
from tests.symbolic.recorded import recorded

TRUE = SymbolicRule.from_formula("-0.1*q - 0.2*ema(q, 0.9)")


@pytest.fixture(scope="module")
def tables() -> tuple[Table, Table]:
    train, val = (make_table(recorded(TRUE, seed=s, noise=0.01), operands_of("dm"), rows=800) for s in (0, 1))
    return train, val


def test_scores_are_of_the_rows_they_name(tables: tuple[Table, Table]) -> None:
    train, val = tables
    scored = assess(TRUE.expression, train, val, "by hand")
    assert scored.engine == "by hand"
    assert scored.clamp == train.y_limit
    residual = val.y - predict(TRUE.expression, val, scored.clamp)
    for got, rows in (
        (scored.r2_val, np.full(len(val.y), True)),
        (scored.r2_early, val.period == EARLY),
        (scored.r2_late, val.period != EARLY),
        (scored.r2_tensors["bias"], val.tensor == 1),
        (scored.r2_runs[1], val.run == 1),
    ):
        spread = ((val.y[rows] - val.y[rows].mean()) ** 2).sum()
        assert got == pytest.approx(1 - (residual[rows] ** 2).sum() / spread)
    assert set(scored.r2_tensors) == {"weight", "bias"}
    assert scored.r2_train > 0.99


def test_predictions_are_clamped(tables: tuple[Table, Table]) -> None:
    big = SymbolicRule.from_formula("-100*q").expression
    assert np.abs(predict(big, tables[1], 0.25)).max() == 0.25
    constant = SymbolicRule.from_formula("0.1").expression
    np.testing.assert_allclose(predict(constant, tables[1], 1.0), np.full(len(tables[1].y), 0.1))


def test_guards_are_applied(tables: tuple[Table, Table]) -> None:
    wrong = assess(SymbolicRule.from_formula("0.1*q").expression, *tables, "by hand")
    assert ASCENT in {reason.name for reason in wrong.refused}
    assert assess(TRUE.expression, *tables, "by hand").refused == ()


def test_the_rule_carries_clamp_and_gain(tables: tuple[Table, Table]) -> None:
    candidate = assess(TRUE.expression, *tables, "by hand")
    rule = candidate.rule(gain=2.0, name="mine")
    assert (rule.expression, rule.clamp, rule.gain, rule.name) == (TRUE.expression, candidate.clamp, 2.0, "mine")
    assert candidate.buffers == rule.buffers == 1
    assert candidate.complexity == 7


def _example() -> Candidate:
    return Candidate(
        expression=TRUE.expression,
        engine="linear",
        clamp=0.5,
        r2_train=0.9,
        r2_val=0.8,
        r2_early=0.7,
        r2_late=float("nan"),
        r2_tensors={"weight": 0.5, "bias": float("-inf")},
        r2_runs=(0.75, 0.25),
        refused=(Reason("ascent", "goes up"),),
        flagged=(Reason("stretch", "grows"),),
        closed_loop=0.25,
        diverged=1,
    )


def test_json_reads_back() -> None:
    text = json.dumps(_example().to_json(), allow_nan=False)
    back = Candidate.from_json(json.loads(text))
    assert np.isnan(back.r2_late)
    assert np.isnan(back.r2_tensors["bias"])
    assert replace(back, r2_late=0.0, r2_tensors={}) == replace(_example(), r2_late=0.0, r2_tensors={})
    assert Candidate.from_json(replace(_example(), closed_loop=None).to_json()).closed_loop is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clamp": -1.0}, "clamp"),
        ({"clamp": None}, "clamp"),
        ({"r2_val": "high"}, "must be a number"),
        ({"r2_val": True}, "must be a number"),
        ({"engine": 3}, "must be text"),
        ({"refused": "no"}, "must be a list"),
        ({"r2_runs": 0.5}, "must be a list"),
        ({"refused": [{"name": "ascent"}]}, "must be text"),
        ({"refused": ["ascent"]}, "JSON object"),
        ({"r2_tensors": []}, "JSON object"),
        ({"expression": {"op": "system"}}, "got"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Candidate.from_json({**_example().to_json(), **change})


def test_missing_fields_are_named() -> None:
    for name in ("expression", "clamp", "r2_late", "closed_loop"):
        data = _example().to_json()
        del data[name]
        with pytest.raises(UserError, match=name):
            Candidate.from_json(data)
    with pytest.raises(UserError, match="a candidate must be a JSON object"):
        Candidate.from_json([])
