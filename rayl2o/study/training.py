"""One arm trained from one meta-seed in this process, with phi kept at marks of two clocks: updates and CPU seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rayl2o.config import RunConfig
from rayl2o.meta.rounds import TrainState, fresh_state, result, run_round
from rayl2o.rules.base import Phi
from rayl2o.study.definition import Snapshots

UPDATES, CPU = "updates", "cpu_s"


@dataclass(frozen=True)
class Mark:
    """A point of a clock at which phi is kept.

    Attributes:
        clock: ``updates`` or ``cpu_s``.
        at: In updates, or in CPU seconds.
        last: Whether it is the clock's last one.
    """

    clock: str
    at: float
    last: bool


@dataclass(frozen=True)
class Snapshot:
    """Phi at the first round boundary at or after a mark, or at the end where a curriculum ended the training before.

    Attributes:
        mark: The mark.
        round: Updates made by then. Snapshots of one round have one phi.
        cpu_s: CPU seconds of training by then, validations included, evaluations not.
        inner_steps: Inner steps by then, all instances.
        skipped: Updates that were skipped by then because a gradient was not finite.
        phi: What the training would ship (:func:`rayl2o.meta.rounds.result`).
    """

    mark: Mark
    round: int
    cpu_s: float
    inner_steps: int
    skipped: int
    phi: Phi


def marks(snapshots: Snapshots, updates: int) -> list[Mark]:
    """All marks of an arm with so many updates, by clock and time."""
    rounds, seconds = sorted({*snapshots.updates, updates}), sorted(set(snapshots.cpu_s))
    return [Mark(UPDATES, at, at == updates) for at in rounds] + [Mark(CPU, at, at == seconds[-1]) for at in seconds]


def train(
    config: RunConfig, snapshots: Snapshots, run_id: str, clock: Callable[[], float] = time.process_time
) -> list[Snapshot]:
    """Trains until the updates of the config are made and the last CPU mark is over, or a curriculum ends it.

    Everything but the rounds of the CPU marks is determined by the config.

    Args:
        config: The arm's config; its ``runtime`` and ``output`` are ignored.
        snapshots: When phi is kept.
        run_id: Name for the segments' provenance.
        clock: CPU seconds of this process.

    Returns:
        The snapshots in the order in which they were taken.
    """
    rule, family = config.make_rule(), config.make_family()
    state = fresh_state(rule, family, config, run_id)
    run_round(
        rule, family, config, state
    )  # thrown away: first calls read data and load code, which no arm is charged for
    pending, taken, spent = marks(snapshots, config.updates), [], 0.0
    while True:
        due = [mark for mark in pending if _due(mark, state, spent)]
        phi = result(config, state)
        taken += [Snapshot(m, state.round, spent, state.inner_steps, state.learner.skipped, phi) for m in due]
        pending = [mark for mark in pending if mark not in due]
        if not pending:
            return taken
        begun = clock()
        state, _ = run_round(rule, family, config, state)
        spent += clock() - begun


def _due(mark: Mark, state: TrainState, spent: float) -> bool:
    return state.curriculum.finished or mark.at <= (state.round if mark.clock == UPDATES else spent)
