"""What the controllers of a run share: who they speak to, how they wait, what they tell, and when they give up."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from rayl2o.cluster.learner import Begun, Report
from rayl2o.cluster.pool import Done, Pool
from rayl2o.cluster.process import Flight
from rayl2o.cluster.processes import Run
from rayl2o.cluster.seat import Seat
from rayl2o.errors import UserError, shorten
from rayl2o.telemetry import WorkersView
from rayl2o.unroll.ticket import Ticket

_log = logging.getLogger(__name__)

_TICK_S = 0.25

OnSettled = Callable[[Report, WorkersView], None]


def wait_any(refs: list[Any]) -> set[Any]:
    """All references that are ready, as soon as one is, or none after a moment."""
    if not refs:
        time.sleep(_TICK_S)
        return set()
    first, _ = ray.wait(refs, num_returns=1, timeout=_TICK_S, fetch_local=False)
    return set(ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)[0]) if first else set()


class Controller(ABC):
    """One run, from the newest checkpoint to the end.

    Attributes:
        report: Where the learner stands, newest.
    """

    def __init__(self, run: Run, seat: Seat, pool: Pool, on_settled: OnSettled) -> None:
        self.report: Report
        self._pool, self._seat, self._on_settled = pool, seat, on_settled
        self._config = run.config
        self._family = run.config.make_family()
        self._rerun = 0
        self._staleness: Counter[int] = Counter()
        self._drops: Counter[str] = Counter()
        self._quarantined: list[str] = []
        self._adopt(*seat.take(pool.make_room))

    @abstractmethod
    def loop(self) -> str:
        """Runs to the end; returns the digest of the phi that was written.

        Raises:
            UserError: A user's mistake, or what the cluster could not get over, in one line.
        """

    @abstractmethod
    def _adopt(self, begun: Begun, phis: dict[int, Any]) -> None:
        """Everything as of the learner's state: after the start, and after a learner was lost."""

    @abstractmethod
    def _take(self, done: Done) -> None:
        """What a worker brought."""

    @abstractmethod
    def _heard(self, flight: Flight, value: Any, error: RayError | None) -> None:
        """The learner's answer."""

    @property
    def learner_busy_s(self) -> float:
        """Seconds that the learner has worked."""
        return self._seat.busy_s

    def view(self) -> WorkersView:
        """The workers, for telemetry."""
        restarts = dict(self._pool.counters.restarts)
        if self._seat.era:
            restarts["learner"] = self._seat.era
        return WorkersView(
            alive=len(self._pool.ready),
            wanted=self._pool.wanted,
            restarts=restarts,
            in_flight=self._pool.in_flight,
            staleness=dict(self._staleness),
            drops=dict(self._drops + self._pool.counters.drops),
            rerun=self._rerun,
            quarantined=tuple(self._quarantined),
            learner_idle=self._seat.idle,
        )

    def _roll_back(self, why: str) -> None:
        """The learner is lost: its successor says from where it goes on."""
        self._seat.lost(why)
        self._pool.forget()
        self._adopt(*self._seat.take(self._pool.make_room))

    def _candidate(self, newest: Any) -> Any:
        """What a validation scores of the learner's newest version: its average where one is kept."""
        return self._seat.process.actor.candidate.remote() if self._config.learner.ema else newest

    def _scored(self, done: Done) -> None:
        """A validation's score goes to the learner; a validation that fails wherever it is tried ends the run."""
        if isinstance(done.error, UserError):
            raise done.error
        if done.error is not None:
            what = "a validation fails wherever it is tried"
            raise UserError(what, value=done.error, mend="see the run's log; mend the task") from done.error
        if done.lost:
            self._roll_back("its weights are lost")
        else:
            self._seat.call("rebaseline" if self.report.decision else "settle", done.value)

    def _set_aside(self, ticket: Ticket, error: BaseException) -> None:
        """Notes a task that fails wherever it is tried. A user's mistake, or too many of them, end the run."""
        if isinstance(error, UserError):
            raise error
        spec = ticket.specs[0]
        name = f"slot {ticket.slot}, trajectory {ticket.ordinal}, task {spec.family!r} seed {spec.seed}"
        self._quarantined.append(f"{name}: {type(error).__name__}: {shorten(str(error))}")
        _log.error("set aside after %d attempts: %s", self._config.runtime.max_attempts, self._quarantined[-1])
        if len(self._quarantined) > self._config.runtime.max_quarantined:
            raise UserError(
                f"more than runtime.max_quarantined={self._config.runtime.max_quarantined} tasks fail wherever they are tried",
                value=self._quarantined[-1],
                mend="see the run's log; mend the task, or leave it out of the family",
            )

    def _wait(self) -> None:
        """Takes in whatever is answered, or looks after those that are late."""
        ready = wait_any([*self._pool.refs(), *self._seat.refs()])
        now = time.monotonic()
        era = self._seat.era
        for done in [done for ref in ready for done in self._pool.take(ref, now)] + self._pool.tick(now):
            if self._seat.era == era:  # else it was meant for the time before a learner was lost
                self._take(done)
        while (answer := self._seat.answered(ready)) is not None:
            self._heard(*answer)
        gone = self._seat.gone(now)
        if gone is not None:
            self._roll_back(gone)
