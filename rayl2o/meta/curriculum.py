"""Curriculum of T, Algorithm 1, as a pure state machine: ``(state, score) -> (state, decision)``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from rayl2o.errors import UserError, unknown_name

SCORES = ("mean", "final")
KINDS = {"algorithm1": "mean", "code": "final", "continuous": "", "equal": "", "none": "", "random": ""}
"""Kinds of curriculum, and what their validations score; empty for those that have none."""


class Decision(Enum):
    """What follows a validation."""

    KEEP = "keep"
    """A new best of the stage: remember phi, go on."""
    CONTINUE = "continue"
    """Not better, but the stage is not over."""
    ADVANCE = "advance"
    """The stage is over and brought something: restore the best phi, re-score it with the next horizon (:func:`rebase`)."""
    STOP = "stop"
    """The stage brought nothing, or was the last: restore the best phi and end."""


@dataclass(frozen=True)
class CurriculumConfig:
    """Horizons to train with.

    The kinds:

    - ``algorithm1`` (T, Algorithm 1): validations end the stages, by the mean loss over the validation horizon.
    - ``code``: the published code's reading of it (paper-facts 2.2). The same machine, with stage 0 starting from +inf, three
      evaluations at least and the restored phi scored again as the next stage's baseline, but the score is the last minibatch's
      loss. Its two faults at the end of the lists are mended: the last stage validates with the last horizon (the code indexes
      past its end) and ends the training (a later "-1" would repeat it).
    - ``equal``: every stage gets the same share of the updates; no validation.
    - ``continuous``: the horizon grows geometrically from the first of ``n_train`` to the last over the updates; no validation.
      What follows stages (r of the imitation) sees the last entry of ``n_train`` that the horizon has reached.
    - ``none``: the first horizon throughout; no validation. T's augmented baseline DM-AUG is this with ``n_train: [1000]``.
    - ``random``: as ``none``, but each trajectory has a random number of unrolls: geometric, at least 1, with the first horizon
      as its mean. L2O-Scale as first published draws the number of unrolls and the steps of each, both from a minimum plus a
      rounded exponential; here an unroll always has ``unroll.steps``, so it is their number that varies. No validation.

    Attributes:
        kind: See above.
        n_train: Horizon of each stage, inner steps. The code's list by default (paper-facts 2.2; L2O-Scale goes on to 5000 in
            steps of 500).
        n_valid: Validation horizon of each stage; empty means ``n_train`` shifted by one, the last entry repeated.
        period: T_period, trajectories (over all slots) between two validations. The code has 100 for DM, 10 for RNNprop, 1 for
            L2O-Scale.
        min_periods: N_period, validations that a stage has at least.
        instances: Fresh instances in a validation. The code has 20 (5 for L2O-Scale).
        score: What a validation scores: ``mean`` over the horizon, or ``final``, the last minibatch; empty for the kind's own.
    """

    kind: str = "algorithm1"
    n_train: tuple[int, ...] = (100, 200, 500, 1000, 1500, 2000, 2500, 3000)
    n_valid: tuple[int, ...] = ()
    period: int = 10
    min_periods: int = 3
    instances: int = 20
    score: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("curriculum", self.kind, KINDS)
        if not self.n_train or min(self.n_train) < 1:
            raise UserError(
                "curriculum.n_train needs positive horizons", value=self.n_train, mend="e.g. [100, 200, 500]"
            )
        if self.n_valid and len(self.n_valid) != len(self.n_train):
            raise UserError(
                "curriculum.n_valid needs one horizon per stage",
                value=self.n_valid,
                mend=f"give {len(self.n_train)} numbers or none",
            )
        for name in ("period", "min_periods", "instances"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"curriculum.{name} must be at least 1", value=getattr(self, name), mend="use 3 or more"
                )

        if self.score and self.score not in SCORES:
            raise unknown_name("score of a validation", self.score, SCORES)
        if self.score and not self.validates:
            raise UserError(
                f"curriculum.kind={self.kind} has no validations to score", value=self.score, mend="leave score out"
            )
        if self.kind == "continuous" and list(self.n_train) != sorted(self.n_train):
            raise UserError("a continuous curriculum grows", value=self.n_train, mend="give n_train in ascending order")

    @property
    def validates(self) -> bool:
        """Whether validations decide when a stage ends."""
        return bool(KINDS[self.kind])

    @property
    def scores(self) -> str:
        """What a validation scores; empty if there are none."""
        return self.score or KINDS[self.kind]

    @property
    def longest(self) -> int:
        """The longest horizon that training has in view; of ``random`` the mean."""
        return self.n_train[0] if self.kind in ("none", "random") else max(self.n_train)

    def valid_horizon(self, stage: int) -> int:
        """N_valid of a stage."""
        if self.n_valid:
            return self.n_valid[stage]
        return self.n_train[min(stage + 1, len(self.n_train) - 1)]


@dataclass(frozen=True)
class CurriculumState:
    """Where the curriculum stands.

    Attributes:
        stage: Index into ``n_train``.
        evaluations: Validations in this stage.
        best: Best validation score so far with this stage's horizon (the baseline at first); +inf in stage 0.
        improved: Whether this stage has beaten its baseline.
        pending: Trajectories completed since the last validation.
        finished: Whether training is over.
    """

    stage: int = 0
    evaluations: int = 0
    best: float = math.inf
    improved: bool = False
    pending: int = 0
    finished: bool = False


def judge(config: CurriculumConfig, state: CurriculumState, score: float) -> tuple[CurriculumState, Decision]:
    """One validation. A score that is not a number counts as no improvement."""
    state = replace(state, evaluations=state.evaluations + 1, pending=0)
    if score < state.best:
        return replace(state, best=score, improved=True), Decision.KEEP
    if state.evaluations < config.min_periods:
        return state, Decision.CONTINUE
    if not state.improved or state.stage == len(config.n_train) - 1:
        return replace(state, finished=True), Decision.STOP
    return CurriculumState(stage=state.stage + 1), Decision.ADVANCE


def rebase(state: CurriculumState, score: float) -> CurriculumState:
    """Gives a new stage its baseline: the restored phi's score at the new validation horizon."""
    return replace(state, best=score if not math.isnan(score) else math.inf)


def equal_stage(config: CurriculumConfig, round_index: int, rounds: int) -> int:
    """Stage of a round (from 0) when every stage gets the same share of ``rounds``."""
    return min(len(config.n_train) * round_index // max(rounds, 1), len(config.n_train) - 1)


def continuous_horizon(config: CurriculumConfig, round_index: int, rounds: int, steps: int) -> int:
    """Horizon of a trajectory that begins in a round (from 0): geometric over ``rounds``, the nearest multiple of ``steps``."""
    first, last = config.n_train[0], config.n_train[-1]
    done = min(round_index / max(rounds - 1, 1), 1.0)
    horizon = first * math.pow(last / first, done)
    return steps * max(1, round(horizon / steps))


def reached_stage(config: CurriculumConfig, horizon: int) -> int:
    """The last stage whose horizon is not above this one; 0 if all are."""
    return max(sum(n <= horizon for n in config.n_train) - 1, 0)
