"""How a run stands, read from its folder, whether its process lives or not. Whatever is torn or missing is said, not guessed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayl2o import checkpoint
from rayl2o.config import RunConfig
from rayl2o.errors import UserError
from rayl2o.folder import CHECKPOINTS, CONFIG, METRICS, RULE, read_config
from rayl2o.follow.identity import ELSEWHERE, GONE, ProcessId, own, presence
from rayl2o.follow.record import RUNNING, Record, read_record
from rayl2o.follow.staleness import quantiles
from rayl2o.telemetry import Progress, WorkersView

STATES = {
    "running": "its process works",
    "finished": "all updates are done",
    "converged": "the curriculum ended it",
    "failed": "an error ended it",
    "interrupted": "someone stopped it",
    "dead": "its process is gone without an end",
    "stalled": "its process lives but has not finished a round for long",
    "elsewhere": "its process is on another machine, which cannot be seen from here",
    "unknown": "no process has reported yet",
}

_PATIENCE = 10.0
"""A run counts as stalled after so many times its longest pause between two rounds..."""
_LEAST_PATIENCE_S, _FIRST_PATIENCE_S = 120.0, 900.0
"""...but not before so long; the second until two rounds are done, while processes start and libraries load."""


@dataclass(frozen=True)
class Status:
    """A run, as its folder tells.

    Attributes:
        run: The folder.
        state: A key of :data:`STATES`.
        config: None if it cannot be read here (say, a plugin that is not installed).
        round: Rounds completed.
        updates: Rounds at most; None if unknown.
        stage: Stage of the curriculum, from 0.
        loss: Of the last round that is known; not a number if there is none.
        course: Losses so far, in order.
        progress: Of the last round that the process reported.
        runtime, process: Which runtime, and who; None if no process reported.
        updated: Seconds since 1970 when the process last reported.
        age_s: Seconds since then.
        pace_s: Mean seconds between two rounds of that process; 0 if unknown.
        checkpoint: Round of the newest valid checkpoint.
        error: What ended it, one line.
        notes: What could not be read, a line each.
    """

    run: Path
    state: str
    config: RunConfig | None
    round: int
    updates: int | None
    stage: int
    loss: float
    course: tuple[float, ...]
    progress: Progress | None
    runtime: str | None
    process: ProcessId | None
    updated: float | None
    age_s: float | None
    pace_s: float
    checkpoint: int | None
    error: str | None
    notes: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether no process works on it any more, as far as can be seen."""
        return self.state in ("finished", "converged", "failed", "interrupted", "dead")

    def to_json(self) -> dict[str, Any]:
        """The machine-readable contract of ``rayl2o status``."""
        workers = self.progress.workers if self.progress is not None else None
        return {
            "run": str(self.run),
            "state": self.state,
            "round": self.round,
            "updates": self.updates,
            "loss": self.loss if math.isfinite(self.loss) else None,
            "stage": self.stage,
            "inner_steps_per_s": None if self.progress is None else round(self.progress.inner_steps_per_s, 1),
            "workers": None if workers is None else _workers_json(workers),
            "checkpoint": self.checkpoint,
            "updated": None if self.updated is None else datetime.fromtimestamp(self.updated, UTC).isoformat(),
            "error": self.error,
        }


def read_status(out: Path, now: Callable[[], float] = time.time) -> Status:
    """How the run in a folder stands.

    Raises:
        UserError: If the folder holds no run.
    """
    notes: list[str] = []
    config = _config(out, notes)
    found = read_record(out)
    if isinstance(found, str):
        notes.append(found)
    record = found if isinstance(found, Record) else None
    rows = _rows(out / METRICS, notes)
    saved, skipped = _newest(out / CHECKPOINTS)
    age = None if record is None else max(0.0, now() - record.updated)
    state = _state(out, record, age)
    progress = record.progress if record is not None else None
    last = _last(rows, progress, live=state in ("running", "stalled"))
    updates = config.updates if config is not None else progress.updates if progress is not None else None
    return Status(
        run=out,
        state=state,
        config=config,
        round=last.round,
        updates=updates,
        stage=last.stage,
        loss=last.loss,
        course=_course(rows, record),
        progress=progress,
        runtime=record.runtime if record is not None else None,
        process=record.process if record is not None else None,
        updated=record.updated if record is not None else None,
        age_s=age,
        pace_s=record.pace_s if record is not None else 0.0,
        checkpoint=saved,
        error=record.error if record is not None else None,
        notes=(*notes, *skipped),
    )


@dataclass(frozen=True)
class _Row:
    round: int
    stage: int
    loss: float


def _config(out: Path, notes: list[str]) -> RunConfig | None:
    try:
        is_run = (out / CONFIG).is_file()
    except OSError as error:
        raise UserError("the folder cannot be read", value=str(out), mend=str(error)) from error
    if not is_run:
        raise UserError("the folder holds no run", value=str(out), mend="give the --out of an earlier 'rayl2o train'")
    try:
        return read_config(out)
    except UserError as error:
        notes.append(str(error))
        return None


def _rows(path: Path, notes: list[str]) -> list[_Row]:
    """The metrics up to the last checkpoint."""
    if not path.is_file():
        return []
    try:
        columns = pq.read_table(path, columns=["round", "stage", "loss"]).to_pydict()
        return [
            _Row(int(number), int(stage), math.nan if loss is None else float(loss))
            for number, stage, loss in zip(columns["round"], columns["stage"], columns["loss"], strict=True)
        ]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        notes.append(f"{path.name} cannot be read: {' '.join(str(error).split())[:200]}")
        return []


def _newest(folder: Path) -> tuple[int | None, tuple[str, ...]]:
    """Round of the newest valid checkpoint, and a line for each newer one that is damaged."""
    files = [file for step in folder.glob("step-*") for file in (step / checkpoint.MANIFEST, step / checkpoint.TENSORS)]
    signature = tuple(sorted(_stamp(file) for file in files))
    return _checked(folder, signature) if signature else (None, ())


@lru_cache(maxsize=8)
def _checked(folder: Path, _signature: tuple[tuple[str, int, int], ...]) -> tuple[int | None, tuple[str, ...]]:
    """Watching a run reads a checkpoint once, not every second."""
    try:
        newest, skipped = checkpoint.load_newest(folder)
    except UserError as error:
        return None, (str(error),)
    return newest.step, tuple(skipped)


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        stat = file.stat()
    except OSError:
        return str(file), 0, -1
    return str(file), stat.st_mtime_ns, stat.st_size


def _state(out: Path, record: Record | None, age: float | None) -> str:
    if record is None or age is None:
        return "finished" if (out / f"{RULE}.json").is_file() else "unknown"
    if record.state != RUNNING:
        return record.state
    seen = presence(record.process, own())
    if seen == GONE:
        return "dead"
    if seen == ELSEWHERE:
        return "elsewhere"
    patience = max(_LEAST_PATIENCE_S, _PATIENCE * record.pause_s) if record.pause_s > 0 else _FIRST_PATIENCE_S
    return "stalled" if age > patience else "running"


def _last(rows: list[_Row], progress: Progress | None, live: bool) -> _Row:
    """The last round: a live process may have gone back to a checkpoint, so its word counts; else whatever got furthest."""
    if progress is not None and (live or not rows or rows[-1].round <= progress.round):
        return _Row(progress.round, progress.stage, progress.metrics.get("loss", math.nan))
    return rows[-1] if rows else _Row(0, 0, math.nan)


def _course(rows: list[_Row], record: Record | None) -> tuple[float, ...]:
    recent = record.recent if record is not None else ()
    first = recent[0][0] if recent else math.inf
    return (*(row.loss for row in rows if row.round < first), *(loss for _, loss in recent))


def _workers_json(workers: WorkersView) -> dict[str, Any]:
    stale = quantiles(workers.staleness)
    return {
        "alive": workers.alive,
        "wanted": workers.wanted,
        "restarts": workers.restarts,
        "in_flight": workers.in_flight,
        "staleness": None if stale is None else stale.to_json(),
        "drops": workers.drops,
        "rerun": workers.rerun,
        "quarantined": list(workers.quarantined),
        "learner_idle": round(workers.learner_idle, 4) if math.isfinite(workers.learner_idle) else None,
    }
