"""The meta-loss of a window: which number of the losses at params[1..U] is to become small."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.unroll.settings import FINAL, LOG, SUM, UnrollConfig

FLOOR = 1e-6
"""Added to the ratio inside the logarithm (L2O-Scale's code)."""


def terms(config: UnrollConfig, losses: Tensor, first: Tensor) -> Tensor:
    """What each point adds to the meta-loss, differentiable in the losses.

    ``sum`` of ``w[t] f[t]`` (T, S), ``mean`` of it over the window (R, paper), ``final`` (``w[U] f[U]`` alone), ``log`` (mean of
    ``w[t] ln(f[t] / f_0 + 1e-6)``, L2O-Scale) or ``ratio`` (mean of ``w[t] f[t] / f_0``, R's code); f_0 is the first loss of the
    trajectory. On minibatches a mean of logarithms or ratios is biased against that of the full loss.

    Args:
        config: ``meta_loss``, ``step_weights`` and ``score_last_iterate`` count.
        losses: ``[U, K]`` at params[1..U], in the task's unit.
        first: ``[K]``, f_0.
    """
    weights = losses.new_tensor(config.weights())[:, None]
    if config.meta_loss == SUM:
        return weights * losses
    if config.meta_loss == FINAL:
        return torch.nn.functional.pad(weights[-1:] * losses[-1:], (0, 0, config.steps - 1, 0))
    weights = weights / config.steps
    scale = first.abs().clamp_min(torch.finfo(losses.dtype).tiny)
    if config.meta_loss == LOG:
        return weights * torch.log(losses.clamp_min(0.0) / scale + FLOOR)
    return weights * losses / (scale if config.meta_loss == "ratio" else 1.0)


def point_weights(config: UnrollConfig, losses: Tensor, first: Tensor) -> Tensor:
    """``[U, K]``: the derivative of the meta-loss by each loss. 0 where the loss is not finite. Arguments as :func:`terms`."""
    sound = torch.isfinite(losses)
    with torch.enable_grad():
        leaf = torch.where(sound, losses, 1.0).detach().requires_grad_()
        (weights,) = torch.autograd.grad(terms(config, leaf, first.detach()).sum(), leaf)
    return torch.where(sound, weights, 0.0)
