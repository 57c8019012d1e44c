"""What ``sr-table1`` prints: the worst fit, beside the paper's figure; goals, explosions and unequal fronts are counted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from rayl2o.benchmark import BENCHMARKS
from rayl2o.benchmark import sr_table1 as measured
from rayl2o.benchmark.fronts import Member
from rayl2o.benchmark.row import Row
from rayl2o.benchmark.sr_table1 import PAPER, READINGS, Reading, exploding, own_growth, sr_table1_rows
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const
from rayl2o.symbolic.engines.base import Data
from rayl2o.symbolic.table1 import TARGETS
from tests.benchmark.sr_stand_ins import G1, Says, exponential, rows_of, scaled

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "sr-table1.json"
A = (Reading("a", "a", False, 3, 0.999), Reading("a late", "a", True, 3))
ALL_NODES = Expression(Binary("+", scaled(0.9).root, Binary("*", Const(0.1), G1)))


def _table1(target: str, data_seed: int, late: bool = False) -> tuple[Data, Data, Data]:
    rows = rows_of(lambda x: TARGETS[target](x[:, ::-1].T)[-1])
    return rows.train, rows.val, rows.test


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "table1", _table1)
    monkeypatch.setattr(measured, "THREADS_ON", ("a",))
    monkeypatch.setattr(measured, "process_map", lambda workers: map)


def _rows(*by_seed: tuple[Expression, ...], readings: tuple[Reading, ...] = A) -> dict[str, Row]:
    found = sr_table1_rows(readings, (0, 1), range(len(by_seed)), Says(by_seed))
    assert len({row.name for row in found}) == len(found)
    return {row.name: row for row in found}


def test_readings_are_those_of_the_issue() -> None:
    assert [reading.name for reading in READINGS[:5]] == list(PAPER)
    assert [(r.target, r.nodes, r.goal) for r in READINGS[1:6] if not r.late] == [
        ("b", 45, 0.9999),
        ("c", 30, 0.99),
        ("d", 45, 0.9999),
        ("e", 100, 0.90),
        ("e", 250, 0.95),
    ]
    assert [(r.nodes, r.goal) for r in READINGS if r.late and r.goal is not None] == [(100, 0.80), (250, 0.87)]
    assert {r.target for r in READINGS if r.late} == set(TARGETS)
    assert "sr-table1" in BENCHMARKS


@pytest.mark.usefixtures("_quick")
def test_the_worst_fit_is_the_value() -> None:
    rows = _rows((scaled(-0.01),), (scaled(-0.005),))
    head = rows["a"]
    assert head.value == pytest.approx(0.75, abs=0.02)  # half the weight leaves a quarter of the variance
    assert (head.unit, head.against) == ("R2, <= 3 nodes", "paper's R2 1")
    assert head.ratio == pytest.approx(head.value)
    assert rows["a: best of 4 fits"].value == pytest.approx(1.0)
    assert rows["a: median of 4 fits"].value == pytest.approx((1 + head.value) / 2)
    assert rows["a: most nodes read"].value == 3
    assert rows["a late: most CPU seconds of 4 fits"].value >= 0
    goals = rows["goals met by the worst fit"]
    assert (goals.value, goals.unit) == (1.0, "of 2; missed: a")
    assert rows["fronts equal at 1 and 2 threads"].value == 1.0


@pytest.mark.usefixtures("_quick")
def test_a_front_without_a_small_member_explains_nothing() -> None:
    rows = _rows((ALL_NODES,))
    assert rows["a"].value == -math.inf
    assert rows["a: most nodes read"].value == 0


@pytest.mark.usefixtures("_quick")
def test_explosions_are_counted() -> None:
    rows = _rows((scaled(-0.01), exponential(5.0)))
    assert rows["members that explode at 3x inputs"].value == 4  # of two regimes on two data seeds
    assert rows["members that explode at 3x inputs"].unit == "of 8"
    assert rows["members that are not finite on test rows"].value == 0


def test_a_target_that_grows_is_no_explosion() -> None:
    data = rows_of(lambda x: x[:, 0]).test
    assert own_growth("a", data) == pytest.approx(3.0)
    assert own_growth("e", data) == pytest.approx(1.0, abs=1e-6)
    own = own_growth("c", data)
    g = data.x
    far = 9 * g[:, 0] ** 2 + 3 * g[:, 1] + 6 * g[:, 2] + np.exp(3 * g[:, 4])
    near = g[:, 0] ** 2 + g[:, 1] + 2 * g[:, 2] + np.exp(g[:, 4])
    assert own == pytest.approx(np.abs(far).max() / np.abs(near).max())
    steep = Member(3, 1.0, 1.0, 5000.0)
    assert not exploding(steep, 5000.0)
    assert exploding(steep, 3.0)
    assert exploding(Member(3, 1.0, 1.0, math.inf), 5000.0)


@pytest.mark.usefixtures("_quick")
def test_unequal_fronts_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter(range(9))

    def wrong(searcher: object, *rest: object, **more: object) -> tuple[Expression, ...]:
        return (scaled(float(next(turns) + 1)),)

    monkeypatch.setattr(Says, "fit", wrong)
    assert _rows((scaled(1.0),))["fronts equal at 1 and 2 threads"].value == 0.0


def test_the_committed_result_has_the_rows_in_place() -> None:
    rows = json.loads(RESULT.read_text())["rows"]
    assert [row["name"] for row in rows[: len(READINGS)]] == [reading.name for reading in READINGS]
    for row, reading in zip(rows, READINGS, strict=False):
        assert row["ratio"] == pytest.approx(row["value"] / PAPER[reading.target])
