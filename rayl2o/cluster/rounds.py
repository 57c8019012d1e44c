"""The controller of a run in rounds: decides what is done next, by reference; the numbers never come here.

It follows dependencies rather than phases. A slot rolls out round q as soon as its round q - 1 is there, the version that acts
in q exists, and, if its trajectory is over, the stage of the next one is decided. The learner takes round q as soon as all
slots have it and boundary q - 1 is settled. So with ``lag`` 1 roll-outs and learning overlap, and the order of events changes
nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from ray.exceptions import RayError

from rayl2o.cluster.controller import Controller, OnSettled
from rayl2o.cluster.learner import Begun, Report
from rayl2o.cluster.pool import Call, Done, Pool
from rayl2o.cluster.process import Flight, loss_of, why_lost
from rayl2o.cluster.processes import Run
from rayl2o.cluster.seat import Seat
from rayl2o.cluster.slots import Rolled, Slot
from rayl2o.cluster.worker import Outcome, Weights
from rayl2o.meta.curriculum import equal_stage
from rayl2o.meta.rounds import acting_version, next_ticket

_log = logging.getLogger(__name__)


def _key(slot: Slot) -> tuple[str, int, int]:
    return ("rollout", slot.round, slot.number)


class RoundLoop(Controller):
    """One run in rounds.

    Attributes:
        shipped: Bytes of contributions and of slot states that roll-outs returned so far.
    """

    def __init__(self, run: Run, seat: Seat, pool: Pool, on_settled: OnSettled) -> None:
        self.shipped = [0, 0]
        super().__init__(run, seat, pool, on_settled)

    def loop(self) -> str:
        while True:
            if self.report.finished and self.report.to_score is None and not self._seat.owes:
                if self._saved == self.report.round:
                    self._pool.forget()
                    return self._seat.finish()
                if len(self._rolled.get(self._settled, {})) == len(self._slots):
                    self._save()
            self._roll()
            self._learn()
            self._wait()

    # The learner's state

    def _adopt(self, begun: Begun, phis: dict[int, Any]) -> None:
        self.report = begun.report
        self._settled = begun.report.round
        self._saved = begun.report.round or -1
        self._slots = [
            Slot.at(i, ticket, begun.report.round, has_state, over)
            for i, (ticket, has_state, over) in enumerate(begun.slots)
        ]
        self._phis = phis
        self._rolled: dict[int, dict[int, Rolled]] = {}
        self._saving: dict[int, Rolled] = {}
        self._pending_phi: Any = None

    def _roll_back(self, why: str) -> None:
        before = self._settled
        super()._roll_back(why)
        self._rerun += (before - self._settled) * len(self._slots)

    # Roll-outs

    def _roll(self) -> None:
        if "here" in self._seat.owes:
            return  # something was lost, and whether the learner is among it will be known soon
        for slot in self._slots:
            if self._may_roll(slot):
                self._prepare(slot)
                self._pool.submit(self._rollout_call(slot))

    def _may_roll(self, slot: Slot) -> bool:
        q = slot.round
        last = self._settled if self.report.finished else self._config.updates
        if q > last or acting_version(self._config, q) not in self._phis or self._pool.has(_key(slot)):
            return False
        return not slot.over or q in slot.starts or self._stage_known(q)

    def _stage_known(self, q: int) -> bool:
        """Whether the stage of trajectories that begin in round q is decided: no validation may come before."""
        if not self._config.curriculum.validates or q - 1 <= self._settled:
            return True
        rolled = self._rolled.get(q - 1, {})
        if q - 2 != self._settled or len(rolled) < len(self._slots):
            return False
        done = sum(one.finished for one in rolled.values())
        return self.report.pending + done < self._config.curriculum.period

    def _prepare(self, slot: Slot) -> None:
        """The slot's ticket and state for its round."""
        if slot.over:
            known = slot.starts.get(slot.round)
            slot.begin(known or next_ticket(self._family, self._config, slot.ticket, self._stage(slot.round)))
        if slot.from_checkpoint and slot.state is None:
            slot.state = self._seat.process.actor.slot_state.remote(slot.number, slot.round - 1)

    def _stage(self, q: int) -> int:
        if self._config.curriculum.kind == "equal":
            return equal_stage(self._config.curriculum, q - 1, self._config.updates)
        return self.report.stage

    def _rollout_call(self, slot: Slot) -> Call:
        weights = self._weights(acting_version(self._config, slot.round))
        ticket, state = slot.ticket, slot.state
        return Call(_key(slot), "rollout", lambda attempt: (weights, ticket, state, attempt), returns=3)

    def _weights(self, version: int) -> Weights:
        return Weights(self._seat.era, version, self._phis[version])

    def _take(self, done: Done) -> None:
        if not isinstance(done.key, tuple):
            return
        kind, q, number = done.key
        if kind == "score":
            self._scored(done)
            return
        slot = self._slots[number]
        if done.lost:
            self._rewind([slot], self._settled + 1)
            if not self._seat.owes:
                self._seat.call("here")
        elif done.error is not None:
            self._set_aside(slot.ticket, done.error)
            slot.begin(next_ticket(self._family, self._config, slot.ticket, self._stage(slot.round)))
        elif q == slot.round:
            outcome: Outcome = done.value
            rolled = Rolled(done.refs[0], done.refs[1], slot.ticket, outcome.finished, outcome.version)
            self.shipped = [sum(pair) for pair in zip(self.shipped, outcome.bytes, strict=True)]
            slot.advance(rolled)
            if q >= self._settled:
                self._rolled.setdefault(q, {})[number] = rolled

    def _rewind(self, slots: list[Slot], needed: int) -> None:
        """Results of these slots are lost: they are made again, from before round ``needed``."""
        for slot in slots:
            before = slot.round
            slot.rewind(needed)
            self._rerun += before - slot.round
            _log.warning("slot %d: a result is lost; making it again from round %d", slot.number, slot.round)
            for q in list(self._rolled):
                if q >= slot.round:
                    self._rolled[q].pop(slot.number, None)
            self._pool.forget([("rollout", q, slot.number) for q in range(slot.round, before + 1)])

    # Learning and what follows at a boundary

    def _learn(self) -> None:
        q = self._settled + 1
        rolled = self._rolled.get(q, {})
        idle = all(tag == "save" for tag in self._seat.owes)
        if not idle or self.report.to_score is not None or len(rolled) < len(self._slots) or self.report.finished:
            return
        ordered = [rolled[number] for number in sorted(rolled)]
        done = sum(one.finished for one in ordered)
        self._seat.call("learn", done, *(one.contribution for one in ordered), returns=2)

    def _learned(self, report: Report, refs: list[Any]) -> None:
        self._seat.worked(report)
        self.report = report
        self._pending_phi = refs[1]
        if report.to_score is None:
            self._settle()
        else:
            self._score(report.to_score, self._candidate(refs[1]))

    def _score(self, horizon: int, phi: Any) -> None:
        q = self.report.round
        weights = Weights(self._seat.era, q, phi)
        call = Call(("score", q, horizon), "score", lambda _: (weights, horizon))
        self._pool.submit(call)

    def _judged(self, method: str, report: Report) -> None:
        self._seat.worked(report)
        if method == "settle":
            score = report.metrics.get("score", float("nan"))
            _log.info("round %d: validation %.4f, %s", report.round, score, report.decision)
            if report.replaced:
                self._pending_phi = self._seat.process.actor.phi.remote(report.round)
        self.report = report
        if report.to_score is None:
            self._settle()
        else:
            self._score(report.to_score, self._pending_phi)

    def _settle(self) -> None:
        """A boundary is behind us: its version acts from now on."""
        q = self._settled = self.report.round
        self._phis[q] = self._pending_phi
        for one in self._rolled[q].values():
            self._staleness[q - 1 - one.version] += 1
        if q % self._config.output.checkpoint_every == 0 or self.report.finished:
            self._save()
        oldest = acting_version(self._config, min(slot.oldest for slot in self._slots))
        self._phis = {version: ref for version, ref in self._phis.items() if version >= oldest}
        for past in [r for r in self._rolled if r < q]:
            del self._rolled[past]
        self._on_settled(self.report, self.view())

    def _save(self) -> None:
        rolled = self._rolled[self.report.round]
        ordered = [rolled[number] for number in range(len(self._slots))]
        self._saving = dict(rolled)
        tickets = [one.ticket for one in ordered]
        self._seat.call("save", tickets, *(one.state for one in ordered))

    def _kept(self, done: int) -> None:
        self._saved = done
        for slot in self._slots:
            one = self._saving[slot.number]
            slot.keep(done, one.ticket, one.finished)

    def _heard(self, flight: Flight, value: Any, error: RayError | None) -> None:
        if error is not None:
            self._failed(flight.tag, error)
        elif flight.tag == "learn":
            self._learned(value, flight.refs)
        elif flight.tag == "save":
            self._kept(value)
        elif flight.tag != "here":
            self._judged(flight.tag, value)

    def _failed(self, tag: str, error: RayError) -> None:
        if not loss_of(error):
            self._roll_back(why_lost(error))
        elif tag == "learn":
            self._rewind(self._slots, self._settled + 1)
        elif self.report.finished:
            self._rewind(self._slots, self._settled)
        else:
            _log.warning("checkpoint of round %d left out: a slot's state is lost", self.report.round)
