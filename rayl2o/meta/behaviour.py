"""Who acts on a trajectory: imitation (T, Algorithm 2) and self-improving (T, section 4), decided when a ticket is made."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rayl2o.errors import UserError
from rayl2o.rules.registry import parse_rule
from rayl2o.seeds import generator
from rayl2o.unroll.segment import MIX, STUDENT, TEACHER

PAPER_TEACHERS = ("adam:lr=0.01", "sgd:lr=0.01", "adagrad:lr=0.01")


@dataclass(frozen=True)
class BehaviourConfig:
    """Teachers and how often they act.

    Attributes:
        teachers: Classic rules as text. The paper's three by default; the code has Adam only (paper-facts 2.3).
        imitation: r per curriculum stage (the last entry repeats): with probability r a whole trajectory is one teacher's, drawn
            uniformly, and is imitated. The published DM+CL+IL runs use (0, .1, .3). Empty means never.
        self_improving: Whether every step of the other trajectories is drawn from {student, teachers}.
        anneal: Trajectories over which the teachers' share falls linearly from k/(k+1) to 0 (100 in the paper).
    """

    teachers: tuple[str, ...] = PAPER_TEACHERS
    imitation: tuple[float, ...] = ()
    self_improving: bool = False
    anneal: int = 100

    def __post_init__(self) -> None:
        if any(not 0 <= r <= 1 for r in self.imitation):
            raise UserError(
                "behaviour.imitation needs probabilities", value=self.imitation, mend="give numbers in 0..1"
            )
        if not self.teachers and (self.self_improving or any(self.imitation)):
            raise UserError(
                "imitation and self-improving need teachers", value=self.teachers, mend="e.g. [adam:lr=0.01]"
            )
        if self.anneal < 1:
            raise UserError("behaviour.anneal must be at least 1", value=self.anneal, mend="the paper uses 100")
        for text in self.teachers:
            parse_rule(text)

    def ratio(self, stage: int) -> float:
        """r of a curriculum stage."""
        return self.imitation[min(stage, len(self.imitation) - 1)] if self.imitation else 0.0


def plan_behaviour(
    config: BehaviourConfig, seed: int, slot: int, ordinal: int, slots: int, stage: int
) -> tuple[str, tuple[str, ...], float]:
    """(behaviour, teachers, teacher_share) of a ticket; determined by its arguments."""
    draws = generator(seed, "plan", slot, ordinal)
    imitate = float(torch.rand((), generator=draws)) < config.ratio(stage)
    chosen = int(torch.randint(max(len(config.teachers), 1), (), generator=draws))
    if imitate:
        return TEACHER, (config.teachers[chosen],), 0.0
    share = teacher_share(config, ordinal * slots + slot)
    return (MIX, config.teachers, share) if share > 0 else (STUDENT, (), 0.0)


def teacher_share(config: BehaviourConfig, trajectories: int) -> float:
    """Probability that a teacher acts after so many trajectories: k/(k+1) at first, linearly to 0."""
    if not config.self_improving:
        return 0.0
    start = len(config.teachers) / (len(config.teachers) + 1)
    return start * max(0.0, 1.0 - trajectories / config.anneal)
