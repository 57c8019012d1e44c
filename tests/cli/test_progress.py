from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rayl2o.cli.progress import Course, Follow, faults, followed, train_progress, waiting
from rayl2o.config import RunConfig, load
from rayl2o.run import train
from rayl2o.runtime import RuntimeConfig
from rayl2o.telemetry import WorkersView
from tests.cli.command import TINY
from tests.follow.said import CALM, FAULTY, progress


def _console(terminal: bool, width: int = 140) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=width, legacy_windows=False), file


def _config(*overrides: str) -> RunConfig:
    return load("quickstart", [*TINY, "updates=20", *overrides])


@pytest.mark.parametrize("terminal", [True, False])
def test_training_shows_round_loss_horizon_score_and_speed(terminal: bool, tmp_path: Path) -> None:
    config = _config("curriculum.kind=algorithm1", "curriculum.period=2", "curriculum.instances=2")
    console, file = _console(terminal)
    with train_progress(config, console) as follow:
        train(config, tmp_path / "run", follow)
    text = file.getvalue()
    for part in ("round", "loss", "horizon", "score", "inner steps/s"):
        assert part in text
    assert ("\x1b[" in text) == terminal
    assert "workers" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_last_panel_of_a_run_on_ray(width: int) -> None:
    console, file = _console(terminal=True, width=width)
    config = replace(_config(), runtime=RuntimeConfig(kind="local"))
    with train_progress(config, console) as follow:
        follow(progress(1, CALM, score=0.5))
        follow(progress(20, FAULTY))
    last = file.getvalue().rpartition("Ray on this machine")[2]
    for part in ("20/20", "100 %", "0.2", "score 0.5", "1 of 2", "died 2", "stage 2 of 3"):
        assert part in last
    assert "left" not in last


def test_the_terminal_is_given_back_when_the_run_breaks_off() -> None:
    console, file = _console(terminal=True)

    def breaks(follow: Follow) -> None:
        follow(progress(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), train_progress(_config(), console) as follow:
        breaks(follow)
    assert file.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is shown again


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_elapsed_and_remaining_time() -> None:
    clock = _Clock()
    course = Course(_config(), clock)
    clock.now += 30  # processes start
    assert (course.view().elapsed_s, course.view().left_s) == (30.0, None)
    for i in range(1, 5):
        course.take(progress(i))
        clock.now += 2
    view = course.view()
    assert (view.round, view.elapsed_s) == (4, 38.0)
    assert view.left_s == (20 - 4) * 2 - 2
    assert view.quiet_s is None
    clock.now += 60
    assert (course.view().quiet_s, course.view().left_s) == (62.0, 0.0)
    course.stop()
    clock.now += 60
    assert (course.view().elapsed_s, course.view().left_s, course.view().quiet_s) == (98.0, None, None)


def test_a_resumed_run_is_timed_by_its_own_rounds() -> None:
    clock = _Clock()
    course = Course(_config(), clock)
    course.take(progress(15))
    assert course.view().left_s is None
    clock.now += 3
    course.take(progress(16))
    assert course.view().left_s == 12


def test_lines_where_there_is_no_terminal() -> None:
    console, file = _console(terminal=False, width=300)
    with train_progress(_config(), console) as follow:
        follow(progress(1, CALM))
        follow(progress(2, CALM))
        follow(progress(3, FAULTY))
        follow(progress(4, FAULTY, skipped=2.0))
        follow(progress(5, FAULTY, score=0.25))
    assert file.getvalue().splitlines() == [
        "round 2/20  loss 2  horizon 200 (2/3)  2,000 inner steps/s  workers 2/2  staleness 1/1/1",
        "round 3: 2 started again: died (1/2 workers ready)",
        "round 3: 1 started again: out of memory (1/2 workers ready)",
        "round 3: segments not learned from: stale",
        "round 3: task set aside: slot 3, trajectory 17: 'no [such] data'",
        "round 4/20  loss 1  horizon 200 (2/3)  skipped 2  2,000 inner steps/s  workers 1/2  staleness 1/3/3  "
        "restarts died 2, out of memory 1  drops stale 4  rerun 6  set aside 1",
        "round 5/20  loss 0.8  horizon 200 (2/3)  score 0.25  2,000 inner steps/s  workers 1/2  staleness 1/3/3  "
        "restarts died 2, out of memory 1  drops stale 4  rerun 6  set aside 1",
    ]


def test_faults_are_told_once_and_on_one_line() -> None:
    before = WorkersView(alive=1, wanted=2, restarts={"died": 1}, drops={"stale": 1}, quarantined=("a",))
    assert faults(before, before) == []
    after = replace(before, restarts={"died": 3}, drops={"stale": 5}, quarantined=("a", "b\nc"))
    assert faults(before, after) == ["2 started again: died (1/2 workers ready)", "task set aside: b c"]


@pytest.mark.parametrize("terminal", [True, False])
def test_followed_hands_on_every_item_in_order(terminal: bool) -> None:
    console, file = _console(terminal)
    assert list(followed(iter("abc"), 3, "done", lambda item: f"item {item}", console)) == ["a", "b", "c"]
    assert ("done 3/3: item c" in file.getvalue()) != terminal


def test_waiting_says_what_for() -> None:
    console, file = _console(terminal=False)
    with waiting("for [x]", console):
        pass
    assert file.getvalue() == "for [x]\n"
