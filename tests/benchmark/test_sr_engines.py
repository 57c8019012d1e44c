"""What ``sr-engines`` prints: every engine that can run beside the linear one; one that fails costs no other its row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayl2o.benchmark import sr_engines as measured
from rayl2o.benchmark.sr_engines import default_tables, recorded_rows, sr_engines_rows
from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget, Engine
from rayl2o.symbolic.engines.registry import engine
from tests.benchmark.sr_stand_ins import Says, rows_of, scaled

TOY = {"toy": rows_of(lambda x: x[:, 0] + 0.5 * np.tanh(3 * x[:, 1]))}
NAMES = ("evolved", "template", "linear", "pysr")


@pytest.fixture
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Engine] = {name: engine(name) for name in ("linear", "template")}
    known["evolved"] = Says(((scaled(1.0),), (scaled(0.1),)))
    monkeypatch.setattr(measured, "engine", known.__getitem__)
    monkeypatch.setattr(measured, "is_available", known.__contains__)


@pytest.mark.usefixtures("_engines")
def test_rows_of_every_engine_beside_the_linear_one() -> None:
    rows = {row.name: row for row in sr_engines_rows(TOY, NAMES)}
    assert next(iter(rows)) == "toy linear <=60 nodes"
    base, template = rows["toy linear <=60 nodes"], rows["toy template (not discovery) <=60 nodes"]
    assert base.ratio is None
    assert template.ratio == pytest.approx(template.value / base.value)
    assert template.unit == "R2, worst of 1"
    worse, better = rows["toy evolved <=60 nodes"], rows["toy evolved: best"]
    assert worse.unit == "R2, worst of 2"
    assert worse.value < better.value < base.value
    assert rows["toy evolved: most CPU seconds"].unit == "CPU s"
    absent = rows["pysr: not available"]
    assert math.isnan(absent.value)
    assert "Julia" in absent.unit


@pytest.mark.usefixtures("_engines")
def test_an_engine_that_is_cut_short_runs_again_with_more(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[float] = []

    def fit(searcher: object, train: object, val: object, budget: Budget, *rest: object) -> list[Expression]:
        budgets.append(budget.cpu_s)
        return [scaled(1.0)]

    monkeypatch.setattr(Says, "fit", fit)
    monkeypatch.setattr(measured, "LONG", {"evolved": Budget(cpu_s=60.0)})
    sr_engines_rows(TOY, NAMES)
    assert budgets == [10.0, 10.0]
    monkeypatch.setattr(measured, "LONG_ON", ("toy",))
    budgets.clear()
    rows = {row.name: row for row in sr_engines_rows(TOY, NAMES)}
    assert budgets == [10.0, 10.0, 60.0, 60.0]
    assert rows["toy evolved, 60 CPU s <=60 nodes"].value == rows["toy evolved <=60 nodes"].value


@pytest.mark.usefixtures("_engines")
def test_an_engine_that_fails_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(searcher: object, train: object, val: object, budget: object, seed: int, *rest: object) -> list[Expression]:
        if seed == 1:
            raise UserError("no formula", value=seed, mend="try again")
        return [scaled(1.0)]

    monkeypatch.setattr(Says, "fit", fit)
    rows = {row.name: row for row in sr_engines_rows(TOY, NAMES)}
    assert rows["toy evolved <=60 nodes"].unit.startswith("R2, worst of 1; a seed failed: no formula")
    assert rows["toy evolved <=60 nodes"].value > 0
    rows = {row.name: row for row in sr_engines_rows(TOY, NAMES, search_seeds=(1,))}
    assert math.isnan(rows["toy evolved <=60 nodes"].value)
    assert rows["toy evolved <=60 nodes"].ratio is None
    assert rows["toy linear <=60 nodes"].value > 0


def test_tables_of_a_learned_rule_are_in_the_units_of_the_training_table() -> None:
    rule = make("rnnprop", {"hidden": [4]})
    config = DistillConfig(horizon=30, collect=2, validate=2, test=2, rows=160)
    rows = recorded_rows(rule, rule.init_phi(generator("test")), config)
    assert rows.train.y.std() == pytest.approx(1.0)
    for data in (rows.train, rows.val, rows.test):
        assert data.names == rows.train.names
        assert data.x.shape == (len(data.y), 14)
        assert data.group is not None
        assert len(np.unique(data.group)) == 8  # four tensors of two runs
    assert not np.array_equal(rows.val.x, rows.test.x)


def test_published_weights_are_left_out_where_they_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(measured, "table1", lambda target, seed: vars(TOY["toy"]).values())
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    assert list(default_tables()) == ["b", "c", "e"]
