"""The logarithm of a loss, defined for every loss: symmetric around 0, and linear near it."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.tasks.analytic.noisy_quadratic import NoisyQuadratic
from rayl2o.tasks.analytic.rastrigin import Rastrigin
from rayl2o.tasks.base import TaskFamily

SMALLEST = 1e-10
"""Where the logarithm turns linear for a task whose losses are not negative: below what float32 resolves of most tasks."""


def log_loss(loss: Tensor, linear_below: float) -> Tensor:
    """float64 ``asinh(loss / (2 linear_below))``: ``ln loss`` and a constant far above ``linear_below``, increasing everywhere.

    A difference of two of them is a ratio of losses where both are large, and a difference in units of twice ``linear_below``
    where both are small, so that a loss that passes 0 is no jump.
    """
    return torch.asinh(loss.double() / (2.0 * linear_below))


def linear_below_of(family: TaskFamily) -> float:
    """Where the logarithm of this family's losses turns linear unless a setting says otherwise, in the task's unit.

    It is :data:`SMALLEST`, but for tasks whose losses may be negative it is of the size of what makes them so: the waves of a
    Rastrigin function, and the noise of a noisy quadratic, which is as large as the loss where that is ``2 noise^2``.
    """
    if isinstance(family, Rastrigin):
        return 1.0
    if isinstance(family, NoisyQuadratic):
        return max(2.0 * family.noise**2, SMALLEST)
    return SMALLEST
