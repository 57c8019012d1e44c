"""A run's course as TensorBoard events, one record per round. Needs no TensorBoard to write, and loads none."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayl2o.follow.staleness import quantiles
from rayl2o.telemetry import Progress

EVENTS = "events"
"""Folder of the events in a run's folder."""

_FLUSH_S = 5.0
_TOLD = {"round", "stage", "seconds", "inner_steps"}
"""Metrics that have a tag of their own or are the axis."""
_log = logging.getLogger(__name__)


def scalars(progress: Progress) -> dict[str, float]:
    """What is recorded of a round, by tag: ``train/``, ``run/``, and where there are workers ``workers/`` and ``staleness/``."""
    found = {f"train/{name}": value for name, value in progress.metrics.items() if name not in _TOLD}
    found |= {
        "run/stage": progress.stage,
        "run/horizon": progress.horizon,
        "run/inner_steps": progress.inner_steps,
        "run/inner_steps_per_s": progress.inner_steps_per_s,
    }
    workers = progress.workers
    if workers is None:
        return found
    found |= {
        "workers/alive": workers.alive,
        "workers/wanted": workers.wanted,
        "workers/in_flight": workers.in_flight,
        "workers/restarts": sum(workers.restarts.values()),
        "workers/drops": sum(workers.drops.values()),
        "workers/rerun": workers.rerun,
        "workers/quarantined": len(workers.quarantined),
        "workers/learner_idle": workers.learner_idle,
    }
    found |= {f"workers/restarts/{_tag(reason)}": count for reason, count in workers.restarts.items()}
    found |= {f"workers/drops/{_tag(reason)}": count for reason, count in workers.drops.items()}
    stale = quantiles(workers.staleness)
    if stale is not None:
        found |= {f"staleness/{name}": value for name, value in stale.to_json().items()}
    return found


class EventWriter:
    """Takes a :class:`Progress` per round and appends it to an event file of its own.

    Nothing is written before the first round. Its round says from where on TensorBoard is to forget what an earlier, interrupted
    process recorded, so a resumed run shows no round twice. A disk that refuses ends the recording with a warning, not the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Any = None
        self._broken = False
        self._flushed = 0.0

    def __call__(self, progress: Progress) -> None:
        """Records a round."""
        if self._broken:
            return
        from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        values = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in scalars(progress).items()]
        event = Event(wall_time=time.time(), step=progress.round, summary=Summary(value=values))
        try:
            if self._file is None:
                self._open(progress.round)
            self._file.write_event(event)
            if time.monotonic() - self._flushed > _FLUSH_S:
                self._file.flush()
                self._flushed = time.monotonic()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Writes what is left."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def _open(self, first: int) -> None:
        # Not SummaryWriter: its queue and thread would cost more than the records, and could not say that the disk is full.
        from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-untyped]
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder.mkdir(parents=True, exist_ok=True)
        # A name of its own even if the run is resumed within the second that the name tells; names sort by time.
        self._file = EventsWriter(str(self._folder / "events"), f".{time.time_ns()}")
        start = SessionLog(status=SessionLog.START)
        self._file.write_event(Event(wall_time=time.time(), step=first, session_log=start))

    def _give_up(self, error: OSError) -> None:
        self._broken, self._file = True, None
        _log.warning("no TensorBoard events from here on, %s cannot be written: %s", self._folder, error)


@contextmanager
def recorded(folder: Path) -> Iterator[EventWriter]:
    """An :class:`EventWriter` that is closed at the end."""
    writer = EventWriter(folder)
    try:
        yield writer
    finally:
        writer.close()


def _tag(reason: str) -> str:
    return "_".join(reason.split())
