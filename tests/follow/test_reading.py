from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rayl2o import checkpoint
from rayl2o.config import load
from rayl2o.errors import UserError
from rayl2o.follow.identity import ProcessId, own
from rayl2o.follow.reading import STATES, Status, read_status
from rayl2o.follow.record import ENDS, RUNNING, STATUS, Record
from rayl2o.run import train
from tests.cli.command import TINY
from tests.follow.said import CALM, FAULTY, a_run, progress, write_record

THEN = 1.7e9
CONTRACT = {
    "run", "state", "round", "updates", "loss", "stage", "inner_steps_per_s", "workers", "checkpoint", "updated", "error",
}  # fmt: skip


def _record(**changes: object) -> Record:
    base = Record(state=RUNNING, runtime="local", process=own(), updated=THEN, progress=progress(7, CALM))
    return replace(base, **changes)  # type: ignore[arg-type]


def _metrics(out: Path, rounds: int, **columns: list[float]) -> None:
    numbers = [float(i) for i in range(1, rounds + 1)]
    rows = {"round": numbers, "stage": [0.0] * rounds, "loss": [8.0 / i for i in numbers], **columns}
    pq.write_table(pa.table(rows), out / "metrics.parquet")


def _save(out: Path, step: int) -> Path:
    return checkpoint.save(out / "checkpoints", step, {"phi": torch.zeros(3)}, {})


def _at(out: Path, after_s: float = 1.0) -> Status:
    return read_status(out, now=lambda: THEN + after_s)


def _dead() -> ProcessId:
    """A process that has gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return replace(own(), pid=child.pid, started=own().started)


def test_a_real_run_that_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = train(load("quickstart", [*TINY, "updates=4"]), out)
    status = read_status(out)
    assert (status.state, status.round, status.updates, status.checkpoint) == ("finished", 4, 4, 4)
    assert len(status.course) == 4
    assert status.course[-1] == status.loss
    assert status.over
    found = status.to_json()
    assert set(found) == CONTRACT
    assert found["inner_steps_per_s"] == pytest.approx(done.inner_steps_per_s, rel=0.5)
    assert (found["run"], found["stage"], found["workers"], found["error"]) == (str(out), 1, None, None)
    assert status.notes == ()


@pytest.mark.parametrize(
    ("process", "after_s", "pause_s", "want"),
    [
        (own(), 1.0, 0.5, "running"),
        (own(), 110.0, 0.5, "running"),
        (own(), 130.0, 0.5, "stalled"),
        (own(), 130.0, 20.0, "running"),  # its rounds take long
        (own(), 210.0, 20.0, "stalled"),
        (own(), 800.0, 0.0, "running"),  # processes start
        (own(), 1000.0, 0.0, "stalled"),
        (replace(own(), host="other", boot="other"), 1e6, 0.5, "elsewhere"),
    ],
)
def test_the_state_of_a_process_that_has_not_ended(
    process: ProcessId, after_s: float, pause_s: float, want: str, tmp_path: Path
) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(process=process, pause_s=pause_s))
    status = _at(out, after_s)
    assert (status.state, status.age_s, status.over) == (want, after_s, False)


def test_a_killed_run_is_dead_and_its_checkpoint_is_named(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(process=_dead()))
    _save(out, 4)
    _save(out, 6)
    status = _at(out)
    assert (status.state, status.over, status.round, status.checkpoint) == ("dead", True, 7, 6)


def test_a_process_that_got_the_number_of_a_dead_run_is_not_taken_for_it(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(process=replace(own(), started=own().started - 1)))
    assert _at(out).state == "dead"


@pytest.mark.parametrize("state", ENDS)
def test_an_end_is_believed(state: str, tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(state=state, process=_dead(), error="it broke" if state == "failed" else None))
    status = _at(out)
    assert (status.state, status.over) == (state, True)
    assert status.to_json()["error"] == ("it broke" if state == "failed" else None)
    assert set(ENDS) < set(STATES)


def test_workers_in_json(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    write_record(out, _record(progress=progress(7, FAULTY, loss=math.inf)))
    found = _at(out).to_json()
    assert found["loss"] is None
    assert found["updated"] == "2023-11-14T22:13:20+00:00"
    assert found["workers"] == {
        "alive": 1,
        "wanted": 2,
        "restarts": {"died": 2, "out of memory": 1},
        "in_flight": 3,
        "staleness": {"p50": 1, "p99": 3, "max": 3},
        "drops": {"stale": 4},
        "rerun": 6,
        "quarantined": ["slot 3, trajectory 17: 'no [such] data'"],
        "learner_idle": 0.125,
    }


def test_a_run_without_a_word_is_told_by_its_metrics(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    status = read_status(out)
    assert (status.state, status.round, status.updates, status.course) == ("unknown", 0, 20, ())
    assert status.to_json()["loss"] is None
    _metrics(out, 5)
    status = read_status(out)
    assert (status.state, status.round, status.loss, status.course[0]) == ("unknown", 5, 1.6, 8.0)
    (out / "rule.json").write_text("{}")
    assert read_status(out).state == "finished"


def test_the_course_joins_metrics_and_recent_rounds(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    _metrics(out, 5)
    write_record(out, _record(recent=((4, 0.25), (5, 0.5), (6, 0.75), (7, 1.0))))
    assert _at(out).course == (8.0, 4.0, 8 / 3, 0.25, 0.5, 0.75, 1.0)


def test_metrics_beyond_the_last_word_count_if_the_process_is_dead_only(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    _metrics(
        out, 9
    )  # written less than a second before the kill, or to be dropped by a process that goes on from round 6
    write_record(out, _record())
    assert (_at(out).round, _at(out).loss) == (7, 4 / 7)
    write_record(out, _record(process=_dead()))
    assert (_at(out).round, _at(out).loss, _at(out).stage) == (9, 8 / 9, 0)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (STATUS, b'{"state": "run', "status.json is not a status"),
        (STATUS, b"\x00" * 64, "status.json is not a status"),
        ("metrics.parquet", b"PAR1 torn", "metrics.parquet cannot be read"),
        ("config.yaml", b"updates: [", "config.yaml"),
        ("config.yaml", b"rule: {kind: from-a-plugin}", "from-a-plugin"),
    ],
)
def test_torn_and_foreign_files_are_noted_and_the_rest_is_told(
    name: str, data: bytes, says: str, tmp_path: Path
) -> None:
    out = a_run(tmp_path / "run")
    _metrics(out, 5)
    write_record(out, _record())
    _save(out, 4)
    (out / name).write_bytes(data)
    status = _at(out)
    (note,) = status.notes
    assert says in note
    assert "\n" not in note
    assert status.checkpoint == 4
    assert status.round == (5 if name == STATUS else 7)
    assert status.updates == 20
    status.to_json()


@pytest.mark.parametrize("columns", [{"loss": ["a"] * 5}, {"round": [math.nan] * 5}, {"stage": [None] * 5}])
def test_metrics_of_something_else(columns: dict[str, list[float]], tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    _metrics(out, 5, **columns)
    assert read_status(out).notes[0].startswith("metrics.parquet cannot be read")
    pq.write_table(pa.table({"x": [1]}), out / "metrics.parquet")
    assert read_status(out).notes[0].startswith("metrics.parquet cannot be read")


def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path: Path) -> None:
    out = a_run(tmp_path / "run")
    _save(out, 4)
    tensors = _save(out, 6) / checkpoint.TENSORS
    assert read_status(out).checkpoint == 6
    tensors.write_bytes(tensors.read_bytes()[:-1])
    status = read_status(out)
    assert status.checkpoint == 4
    assert "step-00000006" in status.notes[0]
    (out / "checkpoints" / "step-00000004" / checkpoint.MANIFEST).write_text("{")
    status = read_status(out)
    assert status.checkpoint is None
    assert len(status.notes) == 1


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="holds no run"):
            read_status(folder)
