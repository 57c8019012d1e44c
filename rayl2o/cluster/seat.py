"""The learner's seat: whoever sits there, and what happens when it is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError

from rayl2o.cluster.learner import Begun, Report
from rayl2o.cluster.process import HUNG, OVERDUE, Flight, cause_of, why_lost
from rayl2o.cluster.processes import LateError, Run, ask, seat_learner, summon_learner
from rayl2o.errors import UserError

_log = logging.getLogger(__name__)

_MOST_DEATHS = 5
"""Learners lost in a row, without a new update in between, before the run stops."""
_MOST_LATE = 2
"""Learners in a row that do not start in time before the user is told: the first may hang, or sit on a node that does."""


class Seat:
    """The newest learner. A lost one is never spoken to again: its successor takes the folder over.

    Attributes:
        process: The learner.
        era: Learners lost so far.
        busy_s: Seconds that learners have worked.
    """

    def __init__(self, run: Run) -> None:
        """Summons the first learner; to be made before the workers, so that it finds a place."""
        self.process = summon_learner(run, 0)
        self.era = 0
        self._run = run
        self._runtime = run.config.runtime
        self._deaths, self._furthest = 0, 0
        self._since, self.busy_s = time.monotonic(), 0.0

    def take(self, make_room: Callable[[], None]) -> tuple[Begun, dict[int, Any]]:
        """Seats the summoned learner with the newest checkpoint; its state and references of its versions of phi.

        ``make_room`` ends a worker; it is called while the learner does not find its place.

        Raises:
            UserError: If it cannot start, or learners keep dying.
        """
        late = 0
        while True:
            try:
                begun = seat_learner(self._run, self.process, make_room)
                phis = {version: self.process.actor.phi.remote(version) for version in begun.versions}
                ray.get(list(phis.values()), timeout=self._runtime.start_deadline_s)
                return begun, phis
            except LateError as error:
                late += 1
                if late == _MOST_LATE:
                    raise
                self.lost(f"not there in time: {error}")
            except RayError as error:
                self.lost(why_lost(error))

    def lost(self, why: str) -> None:
        """Gives the learner up and summons another. Raises UserError if that happens too often."""
        self._deaths += 1
        self.era += 1
        _log.warning("the learner is lost (%s); starting it again from the newest checkpoint", why)
        self.process.end()
        if self._deaths > _MOST_DEATHS:
            raise UserError(
                f"the learner was lost {self._deaths} times without a new update in between",
                value=why,
                mend="see the run's log and 'ray status': it may lack memory",
            )
        self.process = summon_learner(self._run, self.era)

    def worked(self, report: Report) -> None:
        """Takes note of an update."""
        if report.round > self._furthest:  # what is made again after a loss shows nothing
            self._deaths, self._furthest = 0, report.round
        self.busy_s += report.busy_s

    @property
    def idle(self) -> float:
        """Share of the time in which the learner waited, 0..1."""
        return max(0.0, 1.0 - self.busy_s / max(time.monotonic() - self._since, 1e-9))

    @property
    def owes(self) -> list[Any]:
        """Tags of its unanswered calls, oldest first."""
        return [flight.tag for flight in self.process.flights]

    def call(self, method: str, *args: Any, returns: int = 1) -> Flight:
        """Sends a call, tagged with its method."""
        return self.process.call(time.monotonic(), method, method, *args, returns=returns)

    def refs(self) -> list[Any]:
        """What to wait for."""
        return [flight.refs[0] for flight in self.process.flights]

    def answered(self, ready: set[Any]) -> tuple[Flight, Any, RayError | None] | None:
        """The oldest call with its answer or its error, if it is among what is ready.

        Raises:
            UserError: If that is what the learner raised.
        """
        flight = self.process.flights[0] if self.process.flights else None
        if flight is None or flight.refs[0] not in ready:
            return None
        try:
            value = ray.get(flight.refs[0], timeout=self._runtime.ping_s)
        except RayError as error:
            cause = cause_of(error)
            if isinstance(cause, UserError):
                raise cause from None
            self.process.answer(time.monotonic(), flight)
            return flight, None, error
        self.process.answer(time.monotonic(), flight)
        return flight, value, None

    def gone(self, now: float) -> str | None:
        """Why the learner must be given up, if it must."""
        verdict = self.process.verdict(now, self._runtime.ping_s, self._runtime.ping_s, self._runtime.deadline_s)
        return verdict if verdict in (HUNG, OVERDUE) else None

    def finish(self) -> str:
        """Has the trained rule written; returns the digest of its phi."""
        return str(ask(self.process, "finish", self._runtime.deadline_s))

    def close(self) -> None:
        """Ends the learner."""
        self.process.end()
