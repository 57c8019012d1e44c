"""The controller of an asynchronous run: nobody waits for anybody, and how stale a segment may be has a hard bound.

Every slot rolls out with the newest version at hand; the learner takes ``batch`` segments as they come. A segment made with a
version more than ``max_staleness`` updates old is dropped at three points: when it arrives, when a batch is made up, and before
the update (in the learner, where the version is certain). The result depends on timing; for results that do not, use rounds.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayError

from rayl2o.cluster.controller import Controller, OnSettled
from rayl2o.cluster.learner import Begun, Report
from rayl2o.cluster.pool import Call, Done, Pool
from rayl2o.cluster.process import Flight, loss_of, why_lost
from rayl2o.cluster.processes import Run
from rayl2o.cluster.seat import Seat
from rayl2o.cluster.worker import Outcome, Weights
from rayl2o.meta.rounds import next_ticket
from rayl2o.unroll.ticket import Ticket

_log = logging.getLogger(__name__)

_AHEAD = 2
"""Updates that the learner is handed in advance, so that it does not wait for messages."""
_BUFFERED = 4
"""Batches that may wait before roll-outs pause: what waits longer would be dropped as stale."""

ARRIVAL, BUFFER, UPDATE, LOST = "stale on arrival", "stale in the buffer", "stale at the update", "lost"


@dataclass
class _Slot:
    ticket: Ticket
    state: Any
    over: bool
    serial: int = 0


@dataclass(frozen=True)
class _Arrived:
    contribution: Any
    version: int
    finished: bool


class AsyncLoop(Controller):
    """One asynchronous run."""

    def __init__(self, run: Run, seat: Seat, pool: Pool, on_settled: OnSettled) -> None:
        self._batch = run.config.runtime.batch or run.config.slots
        super().__init__(run, seat, pool, on_settled)

    def loop(self) -> str:
        while True:
            if self.report.finished and not self._seat.owes:
                if self._saved == self.report.round:
                    self._pool.forget()
                    return self._seat.finish()
                self._save()
            self._roll()
            self._learn()
            self._wait()

    def _adopt(self, begun: Begun, phis: dict[int, Any]) -> None:
        self.report = begun.report
        self._saved = begun.report.round or -1
        self._slots = [
            _Slot(
                ticket, self._seat.process.actor.slot_state.remote(i, begun.report.round) if has_state else None, over
            )
            for i, (ticket, has_state, over) in enumerate(begun.slots)
        ]
        self._weights = Weights(self._seat.era, begun.report.round, phis[begun.report.round])
        self._buffer: deque[_Arrived] = deque()
        self._scoring: int | None = None

    def _roll(self) -> None:
        if self.report.finished or len(self._buffer) >= _BUFFERED * self._batch:
            return
        for number, slot in enumerate(self._slots):
            key = ("rollout", slot.serial, number)
            if self._pool.has(key):
                continue
            if slot.over:
                self._next(slot)
            weights, ticket, state = self._weights, slot.ticket, slot.state
            self._pool.submit(Call(key, "rollout", _arguments(weights, ticket, state), returns=3))

    def _next(self, slot: _Slot) -> None:
        slot.ticket = next_ticket(self._family, self._config, slot.ticket, self.report.stage)
        slot.state, slot.over = None, False

    def _take(self, done: Done) -> None:
        assert isinstance(done.key, tuple)
        kind, serial, number = done.key
        if kind == "score":
            self._scored(done)
            return
        slot = self._slots[number]
        if serial != slot.serial:
            return
        slot.serial += 1
        if done.lost:  # without its state a trajectory cannot go on
            self._drops[LOST] += 1
            self._next(slot)
            if not self._seat.owes:
                self._seat.call("here")
        elif done.error is not None:
            self._set_aside(slot.ticket, done.error)
            self._next(slot)
        else:
            outcome: Outcome = done.value
            slot.state, slot.over = done.refs[1], outcome.finished
            if self._stale(outcome.version):
                self._drops[ARRIVAL] += 1
            else:
                self._buffer.append(_Arrived(done.refs[0], outcome.version, outcome.finished))

    def _stale(self, version: int) -> bool:
        return self.report.round - version > self._config.runtime.max_staleness

    def _learn(self) -> None:
        if self.report.finished or self._scoring is not None:
            return
        owed = self._seat.owes.count("learn_fresh")
        # With a curriculum an update may call for a validation, which must see the version that it made.
        ahead = 1 if self._config.curriculum.validates else _AHEAD
        while owed < min(ahead, self._config.updates - self.report.round) and len(self._buffer) >= self._batch:
            fresh = [one for one in self._buffer if not self._stale(one.version)]
            self._drops[BUFFER] += len(self._buffer) - len(fresh)
            self._buffer = deque(fresh)
            if len(fresh) < self._batch:
                return
            chosen = [self._buffer.popleft() for _ in range(self._batch)]
            done = sum(one.finished for one in chosen)
            bound = self._config.runtime.max_staleness
            self._seat.call("learn_fresh", bound, done, *(one.contribution for one in chosen), returns=2)
            owed += 1

    def _learned(self, report: Report, phi: Any) -> None:
        self._seat.worked(report)
        moved = report.round > self.report.round
        self.report = report
        self._staleness.update(report.staleness)
        self._drops[UPDATE] += report.dropped
        if not moved:
            return
        self._weights = Weights(self._seat.era, report.round, phi)
        if report.to_score is not None:
            weights = self._weights
            self._score(report.to_score, replace(weights, ref=self._candidate(weights.ref)))
        else:
            self._settle()

    def _score(self, horizon: int, weights: Weights) -> None:
        self._scoring = horizon
        self._pool.submit(Call(("score", self.report.round, horizon), "score", lambda _: (weights, horizon)))

    def _judged(self, method: str, report: Report) -> None:
        self._seat.worked(report)
        if method == "settle":
            _log.info(
                "update %d: validation %.4f, %s",
                report.round,
                report.metrics.get("score", float("nan")),
                report.decision,
            )
            if report.replaced:
                phi = self._seat.process.actor.phi.remote(report.round)
                # A new era of its own: workers hold other numbers under this version already.
                self._weights = Weights(-1 - report.round, report.round, phi)
        self.report = report
        if report.to_score is not None:
            self._score(report.to_score, self._weights)
        else:
            self._scoring = None
            self._settle()

    def _settle(self) -> None:
        if self.report.round % self._config.output.checkpoint_every == 0 and "save" not in self._seat.owes:
            self._save()
        self._on_settled(self.report, self.view())

    def _save(self) -> None:
        self._seat.call("save", [slot.ticket for slot in self._slots], *(slot.state for slot in self._slots))

    def _heard(self, flight: Flight, value: Any, error: RayError | None) -> None:
        if error is not None:
            if not loss_of(error):
                self._roll_back(why_lost(error))
            elif flight.tag == "learn_fresh":
                self._drops[LOST] += self._batch
            elif self.report.finished:
                for slot in self._slots:
                    self._next(slot)
        elif flight.tag == "learn_fresh":
            self._learned(value, flight.refs[1])
        elif flight.tag == "save":
            self._saved = value
        elif flight.tag != "here":
            self._judged(flight.tag, value)


def _arguments(weights: Weights, ticket: Ticket, state: Any) -> Any:
    return lambda attempt: (weights, ticket, state, attempt)
