"""Who acts on a trajectory: imitation (T, Algorithm 2) and self-improving (T, section 4), decided when a ticket is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.registry import parse_rule
from rayl2o.seeds import generator
from rayl2o.unroll.segment import MIX, STUDENT, TEACHER

PAPER_TEACHERS = ("adam:lr=0.01", "sgd:lr=0.01", "adagrad:lr=0.01")
TEACHERS: Mapping[str, tuple[str, ...]] = MappingProxyType({"paper": PAPER_TEACHERS, "code": ("adam:lr=0.01",)})
"""Lists of teachers by name: the paper's (T, section 5; it gives no learning rates), and the published code's default."""
RATIOS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"dm": (0.3,), "dm-cl": (0.0, 0.1, 0.3), "rnnprop": (0.3,), "scale": (0.1,)}
)
"""r per curriculum stage in the published runs, by optimizer, ``-cl`` with its curriculum (paper-facts 2.3)."""


@dataclass(frozen=True)
class BehaviourConfig:
    """Teachers and how often they act.

    Attributes:
        teachers: Classic rules as text with their own settings, or the name of a list in :data:`TEACHERS`: ``[paper]`` or
            ``[code]``. The paper's three by default.
        weights: How likely each teacher is, in imitation and in self-improving, up to a factor; empty means alike, as in T.
        imitation: r per curriculum stage (the last entry repeats): with probability r a whole trajectory is one teacher's and
            is imitated. Empty means never.
        imitation_like: Takes r from a published run in :data:`RATIOS` instead.
        self_improving: Whether every step of the other trajectories is drawn from {student, teachers}.
        anneal: Trajectories over which the teachers' share falls linearly to 0 (100 in the paper).
        start: The share that falls, all teachers together; 0 means k/(k+1) for k teachers (T, section 4.2). The text of T's
            section 5.3 lets each of three begin at .33 instead, which is .99.

    Raises:
        UserError: For an unknown rule or run, with the near miss, or a value out of range.
    """

    teachers: tuple[str, ...] = PAPER_TEACHERS
    weights: tuple[float, ...] = ()
    imitation: tuple[float, ...] = ()
    imitation_like: str = ""
    self_improving: bool = False
    anneal: int = 100
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.imitation_like and self.imitation_like not in RATIOS:
            raise unknown_name("run to take r from", self.imitation_like, RATIOS)
        if self.imitation_like and self.imitation:
            raise UserError("r is given twice", value=self.imitation, mend="give imitation or imitation_like")
        if any(not 0 <= r <= 1 for r in self.imitation):
            raise UserError(
                "behaviour.imitation needs probabilities", value=self.imitation, mend="give numbers in 0..1"
            )
        if not self.teachers and (self.self_improving or any(self.ratios)):
            raise UserError(
                "imitation and self-improving need teachers", value=self.teachers, mend="e.g. [adam:lr=0.01]"
            )
        if self.anneal < 1:
            raise UserError("behaviour.anneal must be at least 1", value=self.anneal, mend="the paper uses 100")
        if not 0 <= self.start <= 1:
            raise UserError("behaviour.start is a share", value=self.start, mend="give a number in 0..1")
        for text in self.rules:
            parse_rule(text)
        self._check_weights()

    def _check_weights(self) -> None:
        if self.weights and len(self.weights) != len(self.rules):
            raise UserError(
                "behaviour.weights needs one weight per teacher",
                value=self.weights,
                mend=f"give {len(self.rules)} numbers or none",
            )
        if self.weights and not (all(0 <= w < math.inf for w in self.weights) and any(self.weights)):
            raise UserError(
                "behaviour.weights must be at least 0, and not all 0", value=self.weights, mend="e.g. [2, 1, 1]"
            )

    @property
    def rules(self) -> tuple[str, ...]:
        """The teachers as rules, named lists written out."""
        return tuple(rule for text in self.teachers for rule in TEACHERS.get(text, (text,)))

    @property
    def ratios(self) -> tuple[float, ...]:
        """r per stage; empty means never."""
        return RATIOS[self.imitation_like] if self.imitation_like else self.imitation

    def ratio(self, stage: int) -> float:
        """r of a curriculum stage."""
        return self.ratios[min(stage, len(self.ratios) - 1)] if self.ratios else 0.0


def plan_behaviour(
    config: BehaviourConfig, seed: int, slot: int, ordinal: int, slots: int, stage: int
) -> tuple[str, tuple[str, ...], float]:
    """(behaviour, teachers, teacher_share) of a ticket; determined by its arguments."""
    draws = generator(seed, "plan", slot, ordinal)
    imitate = float(torch.rand((), generator=draws)) < config.ratio(stage)
    teachers = config.rules
    if config.weights:
        chosen = int(torch.multinomial(torch.tensor(config.weights, dtype=torch.float64), 1, generator=draws))
    else:
        chosen = int(torch.randint(max(len(teachers), 1), (), generator=draws))
    if imitate:
        return TEACHER, (teachers[chosen],), 0.0
    share = teacher_share(config, ordinal * slots + slot)
    return (MIX, teachers, share) if share > 0 else (STUDENT, (), 0.0)


def teacher_share(config: BehaviourConfig, trajectories: int) -> float:
    """Probability that a teacher acts after so many trajectories: ``start``, by default k/(k+1), at first, linearly to 0."""
    if not config.self_improving:
        return 0.0
    count = len(config.rules)
    start = config.start or count / (count + 1)
    return start * max(0.0, 1.0 - trajectories / config.anneal)
