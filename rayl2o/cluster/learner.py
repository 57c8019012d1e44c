"""The learner actor: owns phi, meta-optimizer, curriculum, replay and the run's folder. Slots are the controller's."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray

from rayl2o import folder
from rayl2o.checkpoint import replace_file
from rayl2o.cluster.greeting import Greeting, greet, read
from rayl2o.cluster.pinned import pin
from rayl2o.cluster.transport import pack, unpack
from rayl2o.config import RunConfig
from rayl2o.errors import UserError
from rayl2o.meta.curriculum import Decision
from rayl2o.meta.learner import candidate
from rayl2o.meta.rounds import (
    Contribution,
    TrainState,
    finished,
    fresh_state,
    learn,
    rebaseline,
    settle,
    stage_of,
    validation_due,
)
from rayl2o.rules.base import Rule
from rayl2o.unroll.segment import Segment
from rayl2o.unroll.ticket import Ticket

WRITER = ".writer"
"""File that names the one process which may write checkpoints."""


@dataclass(frozen=True)
class Report:
    """Where the learner stands.

    Attributes:
        round: Updates completed; also the newest version of phi.
        stage: Stage of the curriculum for trajectories that begin now.
        pending: Trajectories completed in the curriculum's period.
        to_score: Horizon with which the newest version must be scored before the boundary is settled; None if it is settled.
        replaced: Whether the newest version's content changed: the best phi was restored.
        decision: What a validation led to.
        finished, converged: Whether the run is over, and whether the curriculum ended it.
        metrics: Of the newest row of ``metrics.parquet``.
        inner_steps: Made in all.
        busy_s: Seconds that this call took.
        staleness, dropped: Of an asynchronous update: segments learned from, by staleness, and segments that were too stale.
    """

    round: int
    stage: int
    pending: int
    finished: bool
    converged: bool
    metrics: dict[str, float]
    inner_steps: int
    to_score: int | None = None
    replaced: bool = False
    decision: str = ""
    busy_s: float = 0.0
    staleness: dict[int, int] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True)
class Begun:
    """What the controller needs to begin: the learner's report, each slot's ticket and how far its trajectory is, and which
    versions of phi there are.

    Attributes:
        slots: Per slot the ticket, whether there is a state, whether its trajectory is over.
    """

    report: Report
    slots: tuple[tuple[Ticket, bool, bool], ...]
    versions: tuple[int, ...]


class Learner:
    """Created by the controller. Its methods run one at a time, in the order of the calls."""

    def __init__(self, config_text: str, out: str, run_id: str, incarnation: str) -> None:
        """``incarnation`` is unique among all processes that ever write to the folder."""
        pin()
        self._text, self._out, self._run_id, self._incarnation = config_text, Path(out), run_id, incarnation
        self._config: RunConfig
        self._rule: Rule
        self._rows: list[dict[str, float]] = []
        self._begun = time.perf_counter()
        self._state: TrainState | None = None

    def prepare(self, probe: str) -> Greeting:
        """Reads the config, and shows that the run's folder is the driver's: reads the driver's probe file, and answers it.

        Raises:
            UserError: If this node lacks what the config names; if the folder is not the driver's, or cannot be written.
        """
        self._config = read(self._text, "learner")
        self._rule = self._config.make_rule()
        path = self._out / probe
        try:
            path.with_suffix(".answer").write_text(path.read_text(encoding="ascii") + " seen", encoding="ascii")
        except OSError as error:
            raise UserError(
                f"the learner cannot use the run's folder ({error.strerror})",
                value=f"{greet().host}:{self._out}",
                mend="give an --out on storage that driver and learner share and may write",
            ) from None
        replace_file(self._out / WRITER, lambda file: file.write(self._incarnation.encode()))
        return greet()

    @ray.method(concurrency_group="control")
    def ping(self) -> bool:
        """Answered while another call computes."""
        return True

    def here(self) -> bool:
        """Answered in turn: fails if this process is gone."""
        return True

    def begin(self) -> Begun:
        """Takes the newest valid checkpoint of the folder, or the state before the first round."""
        pin()
        with folder.logged(self._out):  # which checkpoints were passed over, and why
            found = folder.load_newest(self._out)
        if found is None:
            family = self._config.make_family()
            self._state, self._rows = fresh_state(self._rule, family, self._config, self._run_id), []
        else:
            self._state, self._rows = found
        state = self._state
        slots = tuple((t, s is not None, s is not None and s.finished(t)) for t, s in state.slots)
        return Begun(self._report(), slots, tuple(state.history))

    def slot_state(self, slot: int, round: int) -> Any:
        """The packed state of a slot as of the checkpoint of that round, which need not be the newest any more."""
        pin()
        return pack(folder.load_slots(self._out, round)[slot][1])

    def phi(self, version: int) -> Any:
        """A version of phi, packed."""
        return pack(self._known.history[version])

    def candidate(self) -> Any:
        """The phi that a validation of the newest version scores, packed."""
        return pack(candidate(self._known.learner))

    def learn(self, done: int, *contributions: Any) -> tuple[Report, Any]:
        """The updates of a round from packed contributions, in slot order.

        Args:
            done: Trajectories completed in this round.
            *contributions: One of every slot.

        Returns:
            Report, and the new version of phi: two objects.
        """
        pin()
        return self._learn(done, [unpack(wire) for wire in contributions], time.perf_counter())

    def learn_fresh(self, bound: int, done: int, *contributions: Any) -> tuple[Report, Any]:
        """An asynchronous update from those contributions that are at most ``bound`` versions old; none if all are older.

        Returns:
            As :meth:`learn`.
        """
        pin()
        begun = time.perf_counter()
        found = [unpack(wire) for wire in contributions]
        ages = [self._known.round - one.source.policy_version for one in found]
        fresh = [one for one, age in zip(found, ages, strict=True) if age <= bound]
        if fresh:
            report, phi = self._learn(done, fresh, begun)
        else:
            report, phi = self._report(begun), None
        kept = dict(Counter(age for age in ages if age <= bound))
        return replace(report, staleness=kept, dropped=len(found) - len(fresh)), phi

    def _learn(self, done: int, found: list[Contribution], begun: float) -> tuple[Report, Any]:
        if self._config.output.segments:
            folder.append_segments(self._out, self._known.round + 1, [s for s in found if isinstance(s, Segment)])
        self._state, metrics = learn(self._rule, self._config, self._known, found, done)
        seconds = time.perf_counter() - self._begun
        self._rows.append({"round": float(self._known.round), "seconds": seconds, **metrics})
        return self._report(begun), pack(self._known.learner.phi)

    def settle(self, score: float) -> Report:
        """The consequence of a validation of the newest version."""
        pin()
        begun = time.perf_counter()
        self._state, decision, horizon = settle(self._config, self._known, score)
        self._rows[-1]["score"] = score
        replaced = decision not in (Decision.KEEP, Decision.CONTINUE)
        return replace(self._report(begun), to_score=horizon, replaced=replaced, decision=decision.value)

    def rebaseline(self, score: float) -> Report:
        """Takes the score of the restored best phi at the next stage's horizon."""
        self._state = rebaseline(self._known, score)
        return replace(self._report(), to_score=None)

    def save(self, slots: Sequence[Ticket], *states: Any) -> int:
        """A checkpoint of this boundary: the learner's state with the slots' tickets and packed states.

        Raises:
            UserError: If the disk refuses, or another process has taken over the folder.
        """
        pin()
        if (self._out / WRITER).read_text(encoding="ascii") != self._incarnation:
            raise UserError(
                "another process has taken over the run", value=str(self._out), mend="let only one go on with a run"
            )
        pairs = tuple(zip(slots, (unpack(state) for state in states), strict=True))
        folder.save(self._config, self._out, replace(self._known, slots=pairs), self._rows)
        return self._known.round

    def finish(self) -> str:
        """Writes the trained rule; returns the digest of its phi."""
        pin()
        return folder.finish(self._config, self._out, self._known)

    @property
    def _known(self) -> TrainState:
        assert self._state is not None, "begin comes first"
        return self._state

    def _report(self, begun: float | None = None) -> Report:
        state = self._known
        due = validation_due(self._config, state)
        horizon = self._config.curriculum.valid_horizon(state.curriculum.stage) if due else None
        row = {name: value for name, value in self._rows[-1].items() if name != "round"} if self._rows else {}
        return Report(
            round=state.round,
            stage=stage_of(self._config, state),
            pending=state.curriculum.pending,
            finished=finished(self._config, state),
            converged=state.curriculum.finished,
            metrics=row,
            inner_steps=state.inner_steps,
            to_score=horizon,
            busy_s=0.0 if begun is None else time.perf_counter() - begun,
        )


def new_incarnation(host: str, number: int) -> str:
    """A name that no other process has."""
    return f"{host}-{os.getpid()}-{time.time_ns()}-{number}"
