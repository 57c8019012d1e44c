from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.follow.events import EVENTS
from rayl2o.follow.following import Following, following
from rayl2o.follow.record import Record, read_record
from rayl2o.telemetry import Progress
from tests.follow.said import a_run, progress


def test_everyone_is_told_of_every_round(tmp_path: Path) -> None:
    one: list[Progress] = []
    two: list[Progress] = []
    out = a_run(tmp_path / "run")
    with following(out, "inline", one.append, two.append, resuming=True) as follow:
        for i in range(1, 21):
            follow(progress(i))
    assert one == two == [progress(i) for i in range(1, 21)]
    record = read_record(out)
    assert isinstance(record, Record)
    assert (record.state, record.progress) == ("finished", progress(20))
    assert len(list((out / EVENTS).iterdir())) == 1


def test_a_run_reports_as_soon_as_the_folder_is_its_own(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with following(out, "local") as follow:
        assert not out.exists()
        a_run(out)
        follow.begin()
        record = read_record(out)
        assert isinstance(record, Record)
        assert (record.state, record.progress) == ("running", None)
    assert not (out / EVENTS).exists()


def test_how_it_ended_is_handed_on(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    with following(out, "local", resuming=True) as follow:
        follow(progress(20))
        follow.end("converged")
    record = read_record(out)
    assert isinstance(record, Record)
    assert (record.state, record.runtime) == ("converged", "local")


def test_what_a_taker_raises_ends_the_run_and_is_reported(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")

    def refuse(said: Progress) -> None:
        raise RuntimeError(f"no more after {said.round}")

    def tell(follow: Following) -> None:
        follow(progress(2))

    with pytest.raises(RuntimeError), following(out, "inline", refuse, resuming=True) as follow:
        tell(follow)
    record = read_record(out)
    assert isinstance(record, Record)
    assert (record.state, record.error) == ("failed", "RuntimeError: no more after 2")
