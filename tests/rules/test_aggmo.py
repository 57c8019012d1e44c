"""AggMo against its paper in plain numbers, at every step."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.aggmo import AggMo
from rayl2o.rules.classic import Momentum, Sgd
from tests.rules import noisy_bowl as bowl


def _aggmo(g: list[float], lr: float, betas: list[float]) -> list[float]:
    """Lucas et al. 2019, section 3: ``v_i[t] = beta_i v_i[t-1] - g[t]`` as a sum; theta moves by the mean of ``lr v_i``."""
    found = []
    for t in range(len(g)):
        velocities = [-sum(beta ** (t - i) * g[i] for i in range(t + 1)) for beta in betas]
        found.append(lr / len(betas) * sum(velocities))
    return found


@pytest.mark.parametrize(
    ("rule", "lr", "betas"),
    [
        (AggMo(), 1e-3, [0.0, 0.9, 0.99]),
        (AggMo(0.1, velocities=4), 0.1, [0.0, 0.9, 0.99, 0.999]),
        (AggMo(0.1, 0.5, 2), 0.1, [0.0, 0.5]),
    ],
    ids=["default", "four", "two"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_is_its_paper_at_every_step(rule: AggMo, lr: float, betas: list[float], dtype: torch.dtype) -> None:
    grads = bowl.stream(dtype)
    expected = bowl.by_coordinate(lambda g: _aggmo(g, lr, betas), grads)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(bowl.deltas(rule, grads).double(), expected, rtol=tolerance, atol=tolerance)
    assert rule.state_size == len(betas)


def test_one_velocity_is_gradient_descent_and_two_have_half_a_heavy_ball() -> None:
    grads = bowl.stream()
    plain, ball = bowl.deltas(Sgd(0.1), grads), bowl.deltas(Momentum(0.1, 0.7), grads)
    torch.testing.assert_close(bowl.deltas(AggMo(0.1, velocities=1), grads), plain)
    torch.testing.assert_close(bowl.deltas(AggMo(0.1, 0.3, 2), grads), (plain + ball) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sweep_is_its_settings_side_by_side(dtype: torch.dtype) -> None:
    settings = {"lr": (0.1, 0.01, 1e-3), "scale": (0.1, 0.5, 1.0)}
    bowl.assert_a_sweep_is_its_settings_side_by_side(AggMo, settings, dtype)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "aggmo: lr out of range"),
        ({"scale": 0.0}, r"aggmo: scale out of range: got 0.0; give a number in \(0, 1\]"),
        ({"scale": 1.5}, "aggmo: scale out of range"),
        ({"velocities": 0}, r"aggmo: velocities out of range: got 0; give a whole number in 1\.\.64"),
        ({"velocities": 2.5}, "aggmo: velocities out of range"),
        ({"velocities": 65}, "aggmo: velocities out of range"),
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AggMo(**settings)  # type: ignore[arg-type]
