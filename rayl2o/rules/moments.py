"""Running moments of the gradient, shared by the hand-made rules and RNNprop, with derivatives that stay finite at 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Hyper = float | Tensor
"""A hyperparameter: one number, or ``[K, 1]`` to run K settings side by side (float64 keeps 1 - beta exact)."""


def cast(value: Hyper, like: Tensor) -> Hyper:
    """``value`` in the dtype and on the device of ``like``, so that a float64 setting does not promote the update."""
    return value.to(like) if isinstance(value, Tensor) else value


def ema(mean: Tensor, value: Tensor, beta: Hyper) -> Tensor:
    """``beta mean + (1 - beta) value``."""
    weight = cast(1.0 - beta, value)
    return torch.lerp(mean, value, weight)


def ema_of_square(mean: Tensor, value: Tensor, beta: Hyper) -> Tensor:
    """``beta mean + (1 - beta) value^2``."""
    return cast(beta, value) * mean + cast(1.0 - beta, value) * (value * value)


def bias_correction(beta: Hyper, step: Tensor, like: Tensor) -> Tensor:
    """``1 - beta^(step + 1)`` in the dtype of ``like``; ``expm1`` keeps its digits in float32 when beta is close to 1.

    Args:
        beta: In [0, 1).
        step: Updates made before this one; any shape that broadcasts against ``like``.
        like: Gives dtype and device.
    """
    made = step.to(like) + 1.0
    if isinstance(beta, Tensor):
        return -torch.expm1(made * cast(torch.log(beta), like))
    return -torch.expm1(made * (math.log(beta) if beta > 0.0 else -math.inf))


def safe_sqrt(x: Tensor) -> Tensor:
    """``sqrt(x)`` for x >= 0 whose derivative at 0 is 0 instead of infinite (0 * inf would be NaN under a zero gradient)."""
    if not torch.is_grad_enabled():
        return torch.sqrt(x)
    positive = x > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, x, 1.0)), 0.0)
