"""The process of a run reports to ``status.json`` as it goes on, and how it ended."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rayl2o.checkpoint import replace_file
from rayl2o.errors import UserError
from rayl2o.folder import CONFIG
from rayl2o.follow.identity import own
from rayl2o.follow.record import RUNNING, STATUS, Record, dump_record, read_record
from rayl2o.telemetry import Progress

_EVERY_S = 1.0
_RECENT = 256
_ERROR_LIMIT = 500
_log = logging.getLogger(__name__)


class StatusWriter:
    """Takes a :class:`Progress` per round and keeps ``status.json`` true: written at most once a second, and at the end.

    A disk that refuses is a warning in the log, not the end of the run.
    """

    def __init__(self, out: Path, runtime: str, now: Callable[[], float] = time.time) -> None:
        """``runtime`` is ``inline``, ``local`` or ``cluster``; ``now`` the wall clock in seconds since 1970."""
        self._path, self._runtime, self._now = out / STATUS, runtime, now
        self._process = own()
        earlier = read_record(out)
        before = earlier if isinstance(earlier, Record) else None
        self._progress = before.progress if before is not None else None
        self._recent = deque(before.recent if before is not None else (), maxlen=_RECENT)
        self._end: str | None = before.state if before is not None else None
        self._rounds = 0
        self._first = self._taken = self._pause = 0.0
        self._written: float | None = None
        self._warned = False

    @property
    def silent(self) -> bool:
        """Whether nothing was written yet."""
        return self._written is None

    def __call__(self, progress: Progress) -> None:
        """A round is done."""
        now = self._now()
        if self._rounds:
            self._pause = max(self._pause, now - self._taken)
        else:  # the first round also waited for processes to start
            self._first = now
        self._taken, self._progress, self._end = now, progress, None
        self._rounds += 1
        while self._recent and self._recent[-1][0] >= progress.round:
            self._recent.pop()
        self._recent.append((progress.round, progress.metrics.get("loss", math.nan)))
        if self._written is None or not 0 <= now - self._written < _EVERY_S:
            self.write(RUNNING)

    def end(self, state: str) -> None:
        """Says how the run ended, ``finished`` or ``converged``; else the rounds tell it."""
        self._end = state

    def close(self) -> None:
        """The last word after an end without an error."""
        short = self._progress is not None and self._progress.round < self._progress.updates
        self.write(self._end if self._end in ("finished", "converged") else "converged" if short else "finished")

    def write(self, state: str, error: str | None = None) -> None:
        """Writes now."""
        self._written = self._now()
        record = Record(
            state=state,
            runtime=self._runtime,
            process=self._process,
            updated=self._written,
            pace_s=max(0.0, self._taken - self._first) / max(self._rounds - 1, 1),
            pause_s=self._pause,
            progress=self._progress,
            recent=tuple(self._recent),
            error=error,
        )
        try:
            replace_file(self._path, lambda file: file.write(dump_record(record)))
        except UserError as failure:
            if not self._warned:
                _log.warning("the status of the run is not kept up to date: %s", failure)
            self._warned = True


@contextmanager
def reporting(out: Path, runtime: str, resuming: bool = False) -> Iterator[StatusWriter]:
    """Reports the run that happens inside, and what ended it, to ``status.json``.

    A new run reports from its first round on: a folder that turns out to be another run's is not touched.

    Args:
        out: The run's folder; it need not exist yet.
        runtime: ``inline``, ``local`` or ``cluster``.
        resuming: Whether the run in the folder goes on; it then reports at once.
    """
    others = not resuming and (out / CONFIG).exists()
    writer = StatusWriter(out, runtime)
    if resuming and (out / CONFIG).is_file():
        writer.write(RUNNING)

    def mine() -> bool:
        return (out / CONFIG).is_file() and not (others and writer.silent)

    try:
        yield writer
    except BaseException as error:
        if mine():
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            writer.write("interrupted" if stopped else "failed", None if stopped else _line(error))
        raise
    if mine():
        writer.close()


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    named = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}".rstrip(": ")
    return named[:_ERROR_LIMIT]
