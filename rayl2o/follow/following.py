"""Everyone who is told of a run, in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rayl2o.follow.events import EVENTS, EventWriter, recorded
from rayl2o.follow.record import RUNNING
from rayl2o.follow.status import StatusWriter, reporting
from rayl2o.telemetry import Progress

OnRound = Callable[[Progress], None]


class Following:
    """Takes a :class:`Progress` per round (it is an ``on_round``) and hands it on."""

    def __init__(self, status: StatusWriter, events: EventWriter, more: tuple[OnRound, ...]) -> None:
        self._status = status
        self._takers: tuple[OnRound, ...] = (status, events, *more)

    def __call__(self, progress: Progress) -> None:
        """A round is done."""
        for take in self._takers:
            take(progress)

    def begin(self) -> None:
        """The folder is this run's: reports at once, not only from the first round on."""
        self._status.write(RUNNING)

    def end(self, state: str) -> None:
        """Says how the run ended (``finished``, ``converged``), if the rounds do not tell."""
        self._status.end(state)


@contextmanager
def following(out: Path, runtime: str, *more: OnRound, resuming: bool = False) -> Iterator[Following]:
    """Has the run that happens inside followed by ``status.json``, TensorBoard events and ``more``.

    Args:
        out: The run's folder; it need not exist yet. Nothing is written before the first round, :meth:`Following.begin`,
            or ``resuming``.
        runtime: ``inline``, ``local`` or ``cluster``.
        more: Others to be told, say a live table or gauges.
        resuming: Whether the run in the folder goes on.
    """
    with reporting(out, runtime, resuming) as status, recorded(out / EVENTS) as events:
        yield Following(status, events, more)
