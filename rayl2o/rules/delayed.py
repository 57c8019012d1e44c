"""Delayed gradients: a rule that hears each gradient some steps late, as with stale workers or a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule, State
from rayl2o.rules.packing import pack, unpack
from rayl2o.rules.wrapper import Wrapper


@dataclass(frozen=True)
class Delayed(Wrapper):
    """``rule`` on the gradient of d steps ago: ``delta[t] = rule(g[t - d])``, with zeros for what was before the first.

    Nothing else is late: the inner rule sees the present step, and the present params or loss if it needs them. phi is that of
    the inner rule. ``coord [..., d + S]`` holds the last d gradients, oldest first, then the inner state. A task has no memory,
    so this is a rule and no task augmentation: the record of a window keeps the gradients as they were, and credit passes
    through the wait as through any state.

    Attributes:
        rule: The inner rule.
        steps: d. With 0 it is the inner rule, to the bit.

    Raises:
        UserError: If ``steps`` is negative or above 10,000.
    """

    kind: ClassVar[str] = "delayed"

    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= 10_000:
            raise UserError("delay of a rule out of range", value=self.steps, mend="give whole steps in 0..10000")

    @property
    def state_size(self) -> int:
        """The d gradients and the inner state."""
        return self.steps + self.rule.state_size

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """No gradient yet, and the inner rule's state."""
        state = self.rule.init_state(phi, layout, k, dtype, device)
        waiting = torch.zeros(self.steps, k, layout.size, dtype=dtype, device=device)
        return self._joined(waiting, state)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step; the contract is that of :class:`rayl2o.rules.base.Rule`. The gradient that comes in joins the queue."""
        waiting, inner = self._parted(state)
        line = torch.cat((waiting, inputs.grad.unsqueeze(0)))
        heard = Inputs(line[0], inputs.step, inputs.params, inputs.loss, inputs.layout)
        delta, inner = self.rule.update(phi, heard, inner)
        return delta, self._joined(line[1:], inner)

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates: the inner rule's own sequence on the shifted gradients."""
        waiting, inner = self._parted(state)
        line = torch.cat((waiting, inputs.grad))
        steps = len(inputs.grad)
        heard = Inputs(line[:steps], inputs.step, inputs.params, inputs.loss, inputs.layout)
        deltas, inner = self.rule.sequence(phi, heard, inner)
        return deltas, self._joined(line[steps:], inner)

    def _parted(self, state: State) -> tuple[Tensor, State]:
        """The waiting gradients ``[d, ...]``, oldest first, and the inner state."""
        if self.steps == 0:
            return state["coord"].new_empty(0, *state["coord"].shape[:-1]), state
        lines = unpack(state["coord"])
        return lines[: self.steps], {**state, "coord": pack(lines[self.steps :])}

    def _joined(self, waiting: Tensor, inner: State) -> State:
        """Inverse of :meth:`_parted`."""
        if self.steps == 0:
            return inner
        return {**inner, "coord": pack(torch.cat((waiting, unpack(inner["coord"]))))}


def delayed(rule: Rule, steps: int) -> Rule:
    """``rule`` with its gradients ``steps`` late; ``rule`` itself for 0.

    Raises:
        UserError: If ``steps`` is out of range.
    """
    late = Delayed(rule, steps)
    return late if steps else rule
