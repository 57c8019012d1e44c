"""What a runtime says of a run while it goes on: the same for one process and for a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkersView:
    """The workers as the controller sees them.

    Attributes:
        alive, wanted: Workers ready to work, and how many were asked for.
        restarts: Processes started again, by reason (``died``, ``hung``, ``out of memory``, ``overdue``, ``node``, ``learner``).
        in_flight: Calls handed out and not yet back.
        staleness: Segments by staleness in versions, of all that were learned from.
        drops: Segments not learned from, by reason.
        rerun: Roll-outs made again because their result was lost.
        quarantined: Tasks set aside, as text.
        learner_idle: Share of the time since the start in which the learner waited, 0..1.
    """

    alive: int = 0
    wanted: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0
    staleness: dict[int, int] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    rerun: int = 0
    quarantined: tuple[str, ...] = ()
    learner_idle: float = 0.0


@dataclass(frozen=True)
class Progress:
    """A run at a round boundary (asynchronous: after an update).

    Attributes:
        round, updates: Rounds completed, and at most to do.
        stage, stages: Stage of the curriculum (from 0) and how many there are.
        horizon: Inner steps of a trajectory in this stage.
        inner_steps: Inner steps made in all, all instances.
        seconds: Wall-clock seconds since this process began or resumed the run.
        inner_steps_per_s: Inner steps per second since then.
        metrics: ``loss``, ``grad_norm``, ``score``... as in ``metrics.parquet``.
        runtime: ``inline``, ``local`` or ``cluster``.
        workers: None inline.
    """

    round: int
    updates: int
    stage: int
    stages: int
    horizon: int
    inner_steps: int
    seconds: float
    inner_steps_per_s: float
    metrics: dict[str, float]
    runtime: str = "inline"
    workers: WorkersView | None = None
