"""Lion against its paper in plain numbers, at every step."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.lion import Lion
from tests.rules import noisy_bowl as bowl


def _lion(g: list[float], lr: float, beta1: float, beta2: float) -> list[float]:
    """Chen et al. 2023, Algorithm 2 with lambda = 0; the momentum is written out as a sum."""
    found = []
    for t, x in enumerate(g):
        m = sum((1.0 - beta2) * beta2 ** (t - 1 - i) * g[i] for i in range(t))
        c = beta1 * m + (1.0 - beta1) * x
        found.append(-lr * ((c > 0.0) - (c < 0.0)))
    return found


@pytest.mark.parametrize(("lr", "beta1", "beta2"), [(1e-4, 0.9, 0.99), (0.1, 0.0, 0.0), (0.01, 0.95, 0.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_is_its_paper_at_every_step(lr: float, beta1: float, beta2: float, dtype: torch.dtype) -> None:
    grads = bowl.stream(dtype)
    expected = bowl.by_coordinate(lambda g: _lion(g, lr, beta1, beta2), grads)
    found = bowl.deltas(Lion(lr, beta1, beta2), grads)
    torch.testing.assert_close(found, expected.to(dtype), rtol=1e-6, atol=0.0)
    assert set(found[:, bowl.DEAD].tolist()) == {0.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sweep_is_its_settings_side_by_side(dtype: torch.dtype) -> None:
    settings = {"lr": (0.1, 0.01, 1e-3), "beta1": (0.9, 0.0, 0.5), "beta2": (0.99, 0.5, 0.0)}
    bowl.assert_a_sweep_is_its_settings_side_by_side(Lion, settings, dtype)


def test_defaults_and_state() -> None:
    assert vars(Lion()) == {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99}
    assert Lion().state_size == 1


@pytest.mark.parametrize(("setting", "value"), [("lr", -1.0), ("beta1", 1.0), ("beta2", 1.5)])
def test_an_impossible_setting_is_refused(setting: str, value: float) -> None:
    with pytest.raises(UserError, match=f"lion: {setting} out of range"):
        Lion(**{setting: value})
