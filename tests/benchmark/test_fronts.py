"""How a front is scored and read: by validation alone, on all that the engine said."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from sklearn.metrics import r2_score

from rayl2o.benchmark.fronts import Fit, Member, fitted
from rayl2o.rules.expression import Expression
from rayl2o.symbolic.engines.base import Budget, Data, Pmap
from rayl2o.symbolic.regress import values
from tests.benchmark.sr_stand_ins import Says, exponential, rows_of, scaled

FRONT = Fit(
    (),
    (
        Member(3, 0.5, 0.4, 1.0),
        Member(7, 0.8, 0.7, 1.0),
        Member(9, 0.8, 0.9, 1.0),
        Member(20, float("nan"), 1.0, 1.0),
        Member(30, 0.9, 0.2, 1.0),
    ),
    1.0,
)


def test_the_choice_looks_at_validation_only_and_takes_the_smallest_of_equals() -> None:
    assert FRONT.chosen(20) == FRONT.members[1]
    assert FRONT.chosen(29) == FRONT.members[1]
    assert FRONT.chosen(30) == FRONT.members[4]
    assert FRONT.chosen(2) is None


def test_the_worst_fall_is_that_of_what_validation_prefers() -> None:
    assert FRONT.worst_fall == pytest.approx(0.7 - 0.2)
    assert Fit((), FRONT.members[:3], 1.0).worst_fall == 0.0
    assert Fit((), (), 1.0).worst_fall == math.inf
    assert Fit((), (Member(3, 0.5, 0.5, 1.0), Member(5, 0.6, -math.inf, 1.0)), 1.0).worst_fall == math.inf


def test_scores_are_ours() -> None:
    rows = rows_of(lambda x: x[:, 0])
    fit = fitted(Says(((exponential(), scaled(0.5), scaled(1.0)),)), rows, Budget(), 0)
    assert [member.nodes for member in fit.members] == [2, 3, 3]
    for expression, member in zip(fit.expressions, fit.members, strict=True):
        assert member.nodes == expression.complexity
        for data, score in ((rows.val, member.r2_val), (rows.test, member.r2_test)):
            assert score == pytest.approx(r2_score(data.y, values(expression, data)))
    by_text = dict(zip(map(str, fit.expressions), fit.members, strict=True))
    assert by_text[str(scaled(1.0))].r2_test == 1.0
    assert by_text[str(scaled(1.0))].growth == pytest.approx(3.0)
    wanted = np.exp(3 * rows.test.x[:, 0].max()) / np.abs(rows.test.y).max()
    assert by_text[str(exponential())].growth == pytest.approx(wanted)


@dataclass(frozen=True)
class _Burns:
    name: ClassVar[str] = "burns"

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        subprocess.run([sys.executable, "-c", burn], check=True)
        return [scaled(1.0)]


def test_seconds_of_child_processes_count() -> None:
    assert fitted(_Burns(), rows_of(lambda x: x[:, 0]), Budget(), 0).cpu_s >= 0.25
