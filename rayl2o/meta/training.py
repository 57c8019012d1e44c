"""What a meta-training is set to and where it stands: plain frozen data, the same for every runtime."""

from __future__ import annotations

from dataclasses import dataclass, field

from rayl2o.errors import UserError, unknown_name
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig, CurriculumState
from rayl2o.meta.learner import LearnerConfig, LearnerState
from rayl2o.meta.perturbation import EvolutionConfig
from rayl2o.meta.replay import ReplayConfig, ReplayState
from rayl2o.rules.base import Phi
from rayl2o.unroll.settings import CURVATURE, UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

SEGMENTS_OF = "rtg"
"""The estimator that hands segments to the learner; the others hand it gradients."""
ESTIMATORS = (SEGMENTS_OF, "rtg_worker", "bptt", "es", "pes")


@dataclass(frozen=True)
class TrainConfig:
    """One meta-training.

    Attributes:
        seed: Every draw of the run derives from it.
        updates: Rounds at most; a curriculum may end earlier.
        slots: Slots, each with its own trajectory.
        instances: K, instances side by side in a slot.
        lag: 0 is strictly on-policy; 1 lets roll-outs and learning overlap.
        estimator: ``rtg`` (segments go to the learner, which differentiates the rule), ``rtg_worker`` (the roll-out's process
            does that, and only a gradient goes to the learner: for large tasks), ``bptt`` (autograd through the window there;
            memory grows with U; second order if ``unroll.credit`` is ``exact``), ``es`` or ``pes`` (evolution strategies: losses
            of perturbed weights, nothing is differentiated; ``pes`` has no bias from truncation).
        unroll, learner, curriculum, behaviour, replay: See each.
        evolution: Of ``es`` and ``pes``.
    """

    seed: int = 0
    updates: int = 1000
    slots: int = 1
    instances: int = 1
    lag: int = 0
    estimator: str = SEGMENTS_OF
    unroll: UnrollConfig = field(default_factory=UnrollConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)

    def __post_init__(self) -> None:
        for name in ("updates", "slots", "instances"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1", value=getattr(self, name), mend="give a positive number")
        if self.lag not in (0, 1):
            raise UserError(
                "lag must be 0 or 1", value=self.lag, mend="0 is on-policy, 1 overlaps roll-out and learning"
            )
        if self.estimator not in ESTIMATORS:
            raise unknown_name("estimator", self.estimator, ESTIMATORS)
        if self.replay.uses and self.estimator != SEGMENTS_OF:
            raise UserError(
                f"replay needs segments, estimator={self.estimator} has none to keep",
                value=f"replay.uses={self.replay.uses}",
                mend=f"use estimator={SEGMENTS_OF}, or replay.uses=0",
            )
        if self.replay.uses and self.unroll.dtype != "float32":
            raise UserError(
                "replayed segments are kept on file, as float32",
                value=f"unroll.dtype={self.unroll.dtype}",
                mend="use unroll.dtype=float32, or replay.uses=0",
            )
        if self.unroll.waiting and self.estimator not in (SEGMENTS_OF, "rtg_worker"):
            raise UserError(
                f"estimator={self.estimator} looks no further than its window",
                value=f"credit_horizon={self.unroll.credit_horizon}, credit_delay={self.unroll.credit_delay}",
                mend=f"use estimator={SEGMENTS_OF}, or a larger unroll.steps",
            )
        if self.estimator == "bptt" and self.unroll.credit == CURVATURE:
            raise UserError(
                "autograd through the window has no curvature credit",
                value=f"unroll.credit={self.unroll.credit}",
                mend=f"use estimator={SEGMENTS_OF}, or credit first_order or exact",
            )
        odd = [n for n in self.curriculum.n_train if n % self.unroll.steps]
        if odd:
            raise UserError(
                f"horizons must be multiples of unroll.steps={self.unroll.steps}", value=odd, mend="change either"
            )


@dataclass(frozen=True)
class Job:
    """One roll-out: what a worker is handed besides phi."""

    ticket: Ticket
    slot_state: SlotState | None
    version: int


@dataclass(frozen=True)
class TrainState:
    """Everything that a run needs to go on.

    Attributes:
        learner, curriculum: See each.
        best: Phi of the best validation of this stage (or of the last stage that brought something).
        slots: Per slot, the live ticket and its state (None before its first segment).
        history: Phi by version, as far back as the next round may act with it.
        round: Rounds completed; also the version of the newest phi.
        inner_steps: Inner steps made, all instances.
        scores: Validation scores so far as (round, stage, score).
        replay: Segments that may be learned from again.
    """

    learner: LearnerState
    curriculum: CurriculumState
    best: Phi
    slots: tuple[tuple[Ticket, SlotState | None], ...]
    history: dict[int, Phi]
    round: int = 0
    inner_steps: int = 0
    scores: tuple[tuple[int, int, float], ...] = ()
    replay: ReplayState = field(default_factory=ReplayState)
