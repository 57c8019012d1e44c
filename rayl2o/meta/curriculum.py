"""Curriculum of T, Algorithm 1, as a pure state machine: ``(state, score) -> (state, decision)``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from rayl2o.errors import UserError, unknown_name

KINDS = ("algorithm1", "equal", "none")


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

    Attributes:
        kind: ``algorithm1`` (T), ``equal`` (every stage gets the same share of the updates, no validation) or ``none`` (the first
            horizon throughout).
        n_train: Horizon of each stage, inner steps. The code's list by default (paper-facts 2.2).
        n_valid: Validation horizon of each stage; empty means ``n_train`` shifted by one, the last entry repeated (the published
            code indexes past its end there).
        period: T_period, trajectories (over all slots) between two validations.
        min_periods: N_period, validations that a stage has at least.
        instances: Fresh instances in a validation.
    """

    kind: str = "algorithm1"
    n_train: tuple[int, ...] = (100, 200, 500, 1000, 1500, 2000, 2500, 3000)
    n_valid: tuple[int, ...] = ()
    period: int = 10
    min_periods: int = 3
    instances: int = 20

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
