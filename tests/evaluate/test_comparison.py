"""The table of results: differences, verdicts, who is the best classic rule."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rayl2o.errors import UserError
from rayl2o.evaluate.comparison import compare, verdict
from rayl2o.evaluate.runner import mean_loss
from rayl2o.evaluate.statistics import Interval, paired_difference
from tests.evaluate.examples import make_run, runs_of


def test_rows_are_means_and_paired_differences() -> None:
    found = runs_of()
    rows = compare(found, "rnnprop", ["mlp-orig"])
    assert [(row.task, row.rule) for row in rows] == [(run.task, run.rule) for run in found]
    scores = {run.rule: mean_loss(run.curves) for run in found if run.task == "mlp-orig"}
    adam = rows[2]
    assert adam.mean_loss == pytest.approx(scores[adam.rule].mean())
    assert adam.difference == paired_difference(scores[adam.rule], scores["rnnprop"])
    assert adam.low < adam.mean_loss < adam.high
    assert rows[0].difference is None
    assert [row.verdict for row in rows[:4]] == ["reference", "worse", "worse", "worse"]
    assert [row.best_classic for row in rows] == [False, False, True, False] * 2
    assert [row.trained_on for row in rows] == [True] * 4 + [False] * 4
    assert [row.diverged for row in rows] == [0] * 7 + [1]
    assert list(adam.log_loss) == ["20", "100"]


def test_seen_from_a_classic_rule_the_learned_one_is_better() -> None:
    rows = compare(runs_of(), "adam:lr=0.01,beta1=0.9", [])
    assert [row.verdict for row in rows[:4]] == ["better", "better", "reference", "worse"]


def test_a_row_is_json() -> None:
    row = json.loads(json.dumps(compare(runs_of(), "rnnprop", ["mlp-orig"])[1].to_json()))
    assert {"rule", "kind", "task", "trained_on", "mean_loss", "low", "high"} <= set(row)
    assert set(row["difference"]) == {"mean", "low", "high"}


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (None, "reference"),
        (Interval(-1.0, -2.0, -0.1), "better"),
        (Interval(1.0, 0.1, 2.0), "worse"),
        (Interval(1.0, -0.1, 2.0), "undecided"),
        (Interval(0.0, 0.0, 0.0), "undecided"),
    ],
)
def test_verdicts(interval: Interval | None, expected: str) -> None:
    assert verdict(interval) == expected


def test_without_classic_rules_none_is_best() -> None:
    rows = compare([make_run("a", "learned", 0.1), make_run("b", "formula", 0.2)], "a", [])
    assert not any(row.best_classic for row in rows)


def test_what_cannot_be_compared_is_refused() -> None:
    found = runs_of()
    with pytest.raises(UserError, match="did you mean 'rnnprop'"):
        compare(found, "rnnprob", [])
    with pytest.raises(ValueError, match="the same seeds"):
        compare([found[0], replace(found[1], seeds=(9, 8, 7, 6, 5, 4))], "rnnprop", [])
    with pytest.raises(ValueError, match="different labels"):
        compare([found[0], found[0]], "rnnprop", [])
