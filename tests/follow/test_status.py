from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.follow.identity import own
from rayl2o.follow.record import STATUS, Record, read_record
from rayl2o.follow.status import StatusWriter, reporting
from tests.follow.said import a_run, progress


class _Clock:
    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


def _record(out: Path) -> Record:
    found = read_record(out)
    assert isinstance(found, Record), found
    return found


def _broken_off(take: StatusWriter, rounds: int, error: BaseException) -> None:
    for i in range(1, rounds + 1):
        take(progress(i))
    raise error


def test_a_run_that_ends_well(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with reporting(tmp_path / "other" / "run", "local"):
        pass
    assert not (tmp_path / "other").exists()
    with reporting(out, "local", resuming=True) as take:
        assert (_record(out).state, _record(out).progress) == ("running", None)
        for i in range(1, 21):
            take(progress(i))
    record = _record(out)
    assert (record.state, record.runtime, record.error) == ("finished", "local", None)
    assert record.process == own()
    assert record.progress == progress(20)
    assert record.recent == tuple((i, 4.0 / i) for i in range(1, 21))


def test_a_new_run_says_nothing_before_its_first_round(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with reporting(out, "inline") as take:
        assert not out.exists()
        a_run(out)
        assert not (out / STATUS).exists()
        take(progress(1))
        assert _record(out).state == "running"


@pytest.mark.parametrize(("said", "want"), [(None, "converged"), ("finished", "finished"), ("converged", "converged")])
def test_how_an_early_end_is_told(said: str | None, want: str, tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with reporting(out, "inline", resuming=True) as take:
        take(progress(7))
        if said is not None:
            take.end(said)
    assert _record(out).state == want


@pytest.mark.parametrize(
    ("error", "state", "line"),
    [
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(1), "interrupted", None),
        (RuntimeError("no\nmemory"), "failed", "RuntimeError: no memory"),
        (RuntimeError(), "failed", "RuntimeError"),
        (UserError("too few", value=1, mend="add"), "failed", "too few: got 1; add"),
        (RuntimeError("x" * 9999), "failed", "RuntimeError: " + "x" * 486),
    ],
)
def test_what_ended_a_run(error: BaseException, state: str, line: str | None, tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with pytest.raises(type(error)), reporting(out, "inline", resuming=True) as take:
        _broken_off(take, 3, error)
    assert (_record(out).state, _record(out).error) == (state, line)
    assert _record(out).progress == progress(3)


def test_a_run_that_fails_before_its_first_round_says_so(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def start() -> None:
        a_run(out)
        raise RuntimeError("no worker came up")

    with pytest.raises(RuntimeError), reporting(out, "local"):
        start()
    assert _record(out).error == "RuntimeError: no worker came up"


def test_what_was_refused_leaves_no_trace_in_a_folder_of_another_run(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with reporting(out, "inline", resuming=True) as take:
        take(progress(20))
    before = (out / STATUS).read_bytes()
    with pytest.raises(UserError, match="holds a run already"), reporting(out, "inline"):
        a_run(out)
    assert (out / STATUS).read_bytes() == before
    with pytest.raises(UserError), reporting(tmp_path / "new", "inline"):
        raise UserError("refused", value=1, mend="no")
    assert not (tmp_path / "new").exists()


def test_a_finished_run_that_is_resumed_stays_what_it_was(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with reporting(out, "inline", resuming=True) as take:
        take(progress(20))
        take.end("converged")  # by its last round
    with reporting(out, "inline", resuming=True):
        pass
    assert (_record(out).state, _record(out).progress) == ("converged", progress(20))


def test_a_resumed_run_keeps_the_course_up_to_where_it_goes_on(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), reporting(out, "inline", resuming=True) as take:
        _broken_off(take, 7, KeyboardInterrupt())
    with reporting(out, "inline", resuming=True) as take:
        assert _record(out).progress == progress(7)
        take(progress(5, loss=9.0))
    assert [number for number, _ in _record(out).recent] == [1, 2, 3, 4, 5]
    assert _record(out).recent[-1] == (5, 9.0)


def test_it_is_written_once_a_second_at_most(tmp_path: Path) -> None:
    out, clock = a_run(tmp_path / "run"), _Clock()
    writer = StatusWriter(out, "inline", now=clock)

    def written(after_s: float, round: int) -> int:
        clock.now += after_s
        writer(progress(round))
        last = _record(out).progress
        assert last is not None
        return last.round

    assert written(0.0, 1) == 1
    assert written(0.75, 2) == 1
    assert written(0.5, 3) == 3
    assert written(-100.0, 4) == 4  # the clock was set back
    writer(progress(5))
    writer.close()
    assert _record(out).progress == progress(5)


def test_pace_and_longest_pause(tmp_path: Path) -> None:
    out, clock = a_run(tmp_path / "run"), _Clock()
    writer = StatusWriter(out, "inline", now=clock)
    for i, after in enumerate((100.0, 2.0, 6.0, 1.0), start=1):  # the start does not count
        clock.now += after
        writer(progress(i))
    writer.close()
    assert (_record(out).pace_s, _record(out).pause_s) == (3.0, 6.0)


def test_a_disk_that_refuses_is_one_warning_and_not_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = a_run(tmp_path / "run")
    (out / STATUS).mkdir()
    with caplog.at_level(logging.WARNING), reporting(out, "inline", resuming=True) as take:
        for i in range(1, 4):
            take(progress(i))
            take.write("running")
    assert [r.getMessage()[:43] for r in caplog.records] == ["the status of the run is not kept up to dat"]
    assert list(out.glob(".status*")) == []


def test_a_status_of_someone_else_is_replaced(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    (out / STATUS).write_text('{"state": ')
    with reporting(out, "inline", resuming=True) as take:
        take(progress(20))
    assert _record(out).state == "finished"
