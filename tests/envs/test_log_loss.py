from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch

from rayl2o.envs import OptimizationVectorEnv, environments
from rayl2o.envs.log_loss import SMALLEST, linear_below_of, log_loss
from rayl2o.tasks.analytic.noisy_quadratic import NoisyQuadratic
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.analytic.rastrigin import Rastrigin


def test_it_is_the_logarithm_of_large_losses() -> None:
    losses = torch.tensor([1e4, 1.0, 1e-3, 1e-7])
    logs = log_loss(losses, 1e-10)
    torch.testing.assert_close(logs[:-1] - logs[1:], (losses[:-1] / losses[1:]).double().log(), rtol=1e-5, atol=1e-6)


def test_it_is_linear_around_zero_and_symmetric() -> None:
    small = torch.tensor([1e-3, 0.0, -1e-3])
    torch.testing.assert_close(log_loss(small, 1.0), small.double() / 2, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(log_loss(torch.tensor([-5.0]), 0.1), -log_loss(torch.tensor([5.0]), 0.1))


def test_it_increases_everywhere_and_stays_finite() -> None:
    losses = torch.tensor([-1e30, -2.0, -1e-12, 0.0, 1e-12, 2.0, 1e30])
    logs = log_loss(losses, SMALLEST)
    assert torch.isfinite(logs).all()
    assert (logs.diff() > 0).all()
    assert logs.dtype == torch.float64


def test_where_it_turns_linear() -> None:
    assert linear_below_of(Quadratic()) == SMALLEST
    assert linear_below_of(Rastrigin()) == 1.0
    assert linear_below_of(NoisyQuadratic(noise=0.1)) == pytest.approx(0.02)
    assert linear_below_of(NoisyQuadratic(noise=0.0)) == SMALLEST


@pytest.mark.parametrize("name", [info.id for info in environments() if info.size is not None and info.size < 1000])
def test_no_task_jumps_where_its_loss_passes_zero(name: str) -> None:
    """Whose losses may be negative is known: of the others, none is seen, however well one optimizes."""
    envs = gymnasium.make_vec(name, num_envs=8, action="log_step", log10_steps=(-2.0, 0.0), horizon=30)
    assert isinstance(envs, OptimizationVectorEnv)
    envs.reset(seed=0)
    for _ in range(30):
        _, reward, terminated, _, infos = envs.step(np.zeros((8, 1), np.float32))
        if envs.episodes.linear_below == SMALLEST:
            assert (infos["loss"] >= 0).all()
        else:
            sound = np.where(terminated, 0.0, reward)
            assert np.abs(sound).max() < math.log(1e5)
