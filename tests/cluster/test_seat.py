"""The learner's seat where a learner does not come; what a run makes of lost learners is tested in test_faults."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ray

from rayl2o.cluster import seat as seats
from rayl2o.cluster.learner import Begun, Report
from rayl2o.cluster.process import Process
from rayl2o.cluster.processes import LateError, Run, ask
from rayl2o.cluster.seat import Seat
from rayl2o.config import load

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_local")]

REPORT = Report(round=3, stage=0, pending=0, finished=False, converged=False, metrics={}, inner_steps=60)


class Sleeper:
    """A learner that is there, and does not answer."""

    def prepare(self) -> None:
        time.sleep(60)


def _summoned(_run: Run, incarnation: int) -> Process:
    decorate: Any = ray.remote
    return Process(decorate(max_restarts=0, num_cpus=0)(Sleeper).remote(), "learner", 0, incarnation)


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Seat:
    monkeypatch.setattr(seats, "summon_learner", _summoned)
    return Seat(Run(load("quickstart"), tmp_path))


def test_no_answer_in_time_is_an_error_of_its_own(seat: Seat) -> None:
    with pytest.raises(LateError, match=r"the learner did not answer 'prepare' in time: got '1 s'; see 'ray status'"):
        ask(seat.process, "prepare", 1.0)
    seat.close()


def test_a_learner_that_does_not_come_in_time_is_given_up_for_another(
    seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def seated(_run: Run, process: Process, _room: object) -> Begun:
        tried.append(process.incarnation)
        if len(tried) == 1:
            raise LateError("late", value="1 s", mend="wait")
        return Begun(REPORT, (), ())

    monkeypatch.setattr(seats, "seat_learner", seated)
    begun, phis = seat.take(lambda: None)
    assert (begun.report, phis, tried, seat.era) == (REPORT, {}, [0, 1], 1)
    seat.close()


def test_if_none_comes_the_user_is_told(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    def seated(_run: Run, _process: Process, _room: object) -> Begun:
        raise LateError("the learner did not answer", value="1 s", mend="see 'ray status'")

    monkeypatch.setattr(seats, "seat_learner", seated)
    with pytest.raises(LateError, match="see 'ray status'"):
        seat.take(lambda: None)
    assert seat.era == 1
    seat.close()
