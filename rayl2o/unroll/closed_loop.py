"""Runs a rule on K instances for T steps and keeps the losses only: validation, selection, evaluation. No graph, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Rule, seen_by
from rayl2o.tasks.base import TaskBatch

PENALTY = 10.0
"""From its divergence on, an instance is charged this many times its first loss (or its last sound loss, if larger)."""


@dataclass(frozen=True)
class Curves:
    """Losses of K instances side by side.

    Attributes:
        loss: ``[K, T]`` minibatch loss at params[0..T-1], in the task's unit; a diverged instance is charged a penalty, so
            that every mean is finite and bad.
        valid: int32 ``[K]``, how many of the T losses are real.
    """

    loss: Tensor
    valid: Tensor

    @property
    def diverged(self) -> tuple[bool, ...]:
        """Per instance, whether it left the sound range before the horizon."""
        return tuple((self.valid < self.loss.shape[1]).tolist())


def closed_loop(
    rule: Rule,
    phi: Mapping[str, Tensor],
    task: TaskBatch,
    init_seeds: Sequence[int],
    batch_seeds: Callable[[int], Sequence[int]],
    steps: int,
    loss_cap: float = 1e4,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Curves:
    """``steps`` evaluations and ``steps - 1`` updates from fresh initialisations.

    Args:
        rule, phi: The rule; its hyperparameters or phi may hold ``[K, 1]`` tensors, one setting per instance.
        task: K instances.
        init_seeds: K seeds of initialisations.
        batch_seeds: Step to K minibatch seeds; must not depend on the rule, so that rules are paired.
        steps: T, the horizon.
        loss_cap: A loss above it counts as divergence (task's unit).
        observe: Called with (step, grad ``[K, D]``, delta ``[K, D]``) at each update; None for none.

    Raises:
        UserError: If a loss is not finite at the first step.
    """
    with torch.no_grad():
        params = task.init_params(init_seeds)
        state = rule.init_state(phi, task.layout, task.k, dtype=params.dtype, device=params.device)
        losses: list[Tensor] = []
        heard = params.new_zeros(task.k)
        alive = torch.ones(task.k, dtype=torch.bool, device=params.device)
        valid = torch.zeros(task.k, dtype=torch.int32, device=params.device)
        for t in range(steps):
            loss, grad = task.loss_and_grad(params, task.draw_batch(batch_seeds(t)))
            if t == 0 and not bool(torch.isfinite(loss).all()):
                raise UserError(
                    "the loss is not finite at the first step",
                    value=loss.tolist(),
                    mend="check the task's settings and data",
                )
            alive = alive & torch.isfinite(loss) & (loss <= loss_cap) & torch.isfinite(grad).all(1)
            valid += alive.int()
            losses.append(loss)
            if t == steps - 1 or not bool(alive.any()):
                break
            grad = torch.where(alive[:, None], grad, 0.0)
            heard = torch.where(alive, loss, heard) if t else loss
            step = torch.tensor(float(t), dtype=grad.dtype, device=grad.device)
            delta, state = rule.update(phi, seen_by(rule, grad, step, params, heard, task.layout), state)
            if observe is not None:
                observe(t, grad, delta)
            params = torch.where(alive[:, None], params + delta, params)
        return Curves(_charge(torch.stack(losses, dim=1), valid, steps), valid)


def _charge(loss: Tensor, valid: Tensor, steps: int) -> Tensor:
    """Fills what follows a divergence with the penalty."""
    full = torch.nn.functional.pad(loss, (0, steps - loss.shape[1]))
    last = full.gather(1, (valid.long() - 1).clamp_min(0)[:, None])
    penalty = torch.maximum(PENALTY * full[:, :1].abs(), last)
    return torch.where(torch.arange(steps, device=loss.device)[None] < valid[:, None], full, penalty)
