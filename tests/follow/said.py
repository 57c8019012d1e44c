"""What a runtime might say of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rayl2o.config import load
from rayl2o.folder import begin
from rayl2o.follow.record import STATUS, Record, dump_record
from rayl2o.telemetry import Progress, WorkersView

CALM = WorkersView(alive=2, wanted=2, in_flight=3, staleness={0: 10, 1: 90}, learner_idle=0.125)
FAULTY = replace(
    CALM,
    alive=1,
    restarts={"died": 2, "out of memory": 1},
    staleness={0: 10, 1: 95, 3: 5},
    drops={"stale": 4},
    rerun=6,
    quarantined=("slot 3, trajectory 17: 'no [such] data'",),
)


def progress(round: int, workers: WorkersView | None = None, updates: int = 20, **metrics: float) -> Progress:
    """A round's word; the loss falls as rounds go on unless given."""
    return Progress(
        round=round,
        updates=updates,
        stage=1,
        stages=3,
        horizon=200,
        inner_steps=1000 * round,
        seconds=0.5 * round,
        inner_steps_per_s=2000.0,
        metrics={"loss": 4.0 / round, "grad_norm": 0.5, "stage": 1.0, "skipped": 0.0, **metrics},
        runtime="inline" if workers is None else "local",
        workers=workers,
    )


def a_run(out: Path, *overrides: str) -> Path:
    """A folder that holds a run which has just begun."""
    begin(out, load("quickstart", ["task.name=quadratic", "task.settings={size: 4}", "updates=20", *overrides]))
    return out


def write_record(out: Path, record: Record) -> None:
    """Puts a record where a run's process would."""
    (out / STATUS).write_bytes(dump_record(record))
