"""A rule under a schedule: its updates times a factor of the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule, State
from rayl2o.rules.schedules import Schedule
from rayl2o.rules.wrapper import Wrapper


@dataclass(frozen=True)
class Scheduled(Wrapper):
    """``delta[t] = factor(t) rule(g[t])``. phi and the state are those of the inner rule.

    For a rule whose update is linear in its learning rate, as are all hand-made ones, it is a schedule of the learning rate;
    the decoupled weight decay of AdamW follows it, as under ``torch.optim.lr_scheduler``. The inner state does not know of the
    schedule, so momentum is kept in the unscaled unit of ``torch.optim.SGD``. No state of its own.

    Attributes:
        rule: The inner rule, hand-made or learned.
        schedule: The factor.
    """

    kind: ClassVar[str] = "scheduled"

    schedule: Schedule

    @property
    def state_size(self) -> int:
        """That of the inner rule."""
        return self.rule.state_size

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """The inner rule's state."""
        return self.rule.init_state(phi, layout, k, dtype, device)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step; the contract is that of :class:`rayl2o.rules.base.Rule`."""
        delta, state = self.rule.update(phi, inputs, state)
        return self.schedule.factor(inputs.step.to(delta)) * delta, state

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates: the inner rule's own sequence, and all factors at once."""
        deltas, state = self.rule.sequence(phi, inputs, state)
        return self.schedule.factor(inputs.step.to(deltas)) * deltas, state


def scheduled(rule: Rule, schedule: Schedule | None) -> Rule:
    """``rule`` under a schedule; ``rule`` itself for None."""
    return rule if schedule is None else Scheduled(rule, schedule)
