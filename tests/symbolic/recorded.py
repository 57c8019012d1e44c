"""Trajectories made by hand for the tests of this room: a known rule on known gradients, no task behind them."""

from __future__ import annotations

import torch

from rayl2o.rules.base import Inputs
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.symbolic.trajectories import Trajectories


def recorded(rule: SymbolicRule, steps: int = 120, runs: int = 2, seed: int = 0, noise: float = 0.0) -> Trajectories:
    """float64 trajectories of a rule on correlated gradients of two tensors, eight coordinates each a run."""
    width = 16 * runs
    draws = generator(seed, "test", "gradients")
    shocks = torch.randn(steps, width, dtype=torch.float64, generator=draws)
    sizes = 10.0 ** torch.randn(width, dtype=torch.float64, generator=draws).clamp(-1, 1)
    grad = torch.empty_like(shocks)
    last = torch.zeros(width, dtype=torch.float64)
    for t, shock in enumerate(shocks):
        last = 0.7 * last + shock
        grad[t] = last * sizes
    state = {"coord": torch.zeros(width, rule.state_size, dtype=torch.float64)}
    time = torch.arange(steps, dtype=torch.float64)[:, None]
    phi = rule.init_phi(dtype=torch.float64)
    delta, _ = rule.sequence(phi, Inputs(grad=grad, step=time), state)
    delta = delta + noise * torch.randn(delta.shape, dtype=torch.float64, generator=draws)
    return Trajectories(
        grad=grad,
        delta=delta,
        valid=torch.full((width,), steps),
        tensor=torch.arange(width) % 16 // 8,
        run=torch.arange(width) // 16,
        tensors=("weight", "bias"),
        dead_share=0.0,
    )
