"""Noise from seeds, antithetic pairs of weights, and the estimate that is exact where the loss is linear in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.checkpoint import digest
from rayl2o.errors import UserError
from rayl2o.meta.perturbation import EvolutionConfig, draw_noise, estimate, perturb
from rayl2o.rules.base import Phi
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.ticket import Ticket

FAMILY = task("quadratic")
TICKET = Ticket("t", 3, 1, 2, tuple(FAMILY.sample(generator(k)) for k in range(3)), 100)
CONFIG = EvolutionConfig(particles=4)


def _phi(dtype: torch.dtype = torch.float64) -> Phi:
    return {name: torch.randn(shape, generator=generator(name), dtype=dtype) for name, shape in SHAPES.items()}


SHAPES: dict[str, tuple[int, ...]] = {"w": (3, 2), "a": (), "b": (4,)}


def test_noise_is_standard_normal_in_the_dtype_of_phi() -> None:
    for dtype in (torch.float32, torch.float64):
        noise = draw_noise(replace(CONFIG, particles=400), TICKET, 0, _phi(dtype))
        assert (noise.shape, noise.dtype) == ((600, 11), dtype)
        assert abs(float(noise.mean())) < 4 / 6600**0.5
        assert abs(float(noise.square().mean()) - 1) < 4 * (2 / 6600) ** 0.5
        assert abs(float((noise[:-1] * noise[1:]).mean())) < 4 / 6600**0.5


def test_noise_is_of_its_seed_alone() -> None:
    noise = draw_noise(CONFIG, TICKET, 5, _phi())
    assert torch.equal(draw_noise(CONFIG, TICKET, 5, dict(reversed(_phi().items()))), noise)
    state = torch.random.get_rng_state()
    elsewhere = (replace(TICKET, slot=0), replace(TICKET, ordinal=0), replace(TICKET, run_seed=0))
    others = [
        draw_noise(CONFIG, TICKET, 6, _phi()),
        *(draw_noise(CONFIG, other, 5, _phi()) for other in elsewhere),
    ]
    assert len({digest({"": one}) for one in (noise, *others)}) == 5
    assert torch.equal(torch.random.get_rng_state(), state)


def test_pairs_are_antithetic_and_lie_side_by_side() -> None:
    phi = _phi()
    noise = draw_noise(CONFIG, TICKET, 0, phi)
    phis = perturb(phi, noise, 0.5)
    assert list(phis) == list(phi)
    assert {name: value.shape for name, value in phis.items()} == {name: (12, *shape) for name, shape in SHAPES.items()}
    for name, value in phi.items():
        torch.testing.assert_close((phis[name][::2] + phis[name][1::2]) / 2, value.expand(6, *value.shape))
    flat = torch.cat([(phis[name][::2] - phi[name]).reshape(6, -1) for name in sorted(phi)], dim=1)
    torch.testing.assert_close(flat, 0.5 * noise)


def test_the_estimate_of_a_linear_loss_is_its_projection_on_the_noise() -> None:
    phi, slope = _phi(), _phi(torch.float32)
    noise = draw_noise(replace(CONFIG, particles=2000), TICKET, 0, phi)
    found = estimate(phi, noise, _linear(slope, perturb(phi, noise, 0.1)), 0.1)
    expected = noise.T @ (noise @ torch.cat([slope[name].double().flatten() for name in sorted(phi)])) / len(noise)
    assert {name: value.shape for name, value in found.items()} == SHAPES
    torch.testing.assert_close(torch.cat([found[name].flatten() for name in sorted(phi)]), expected)
    scale = float(torch.cat([value.flatten() for value in slope.values()]).double().norm())
    for name, value in slope.items():
        assert float((found[name] - value.double()).abs().max()) < 4 * scale * (2 / len(noise)) ** 0.5


def _linear(slope: Phi, phis: Phi) -> Tensor:
    parts = [(phis[name] * value.double()).reshape(len(phis[name]), -1).sum(1) for name, value in slope.items()]
    return torch.stack(parts).sum(0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": float("inf")}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"particles": 0}, "particles"),
        ({"particles": 3}, "pairs"),
        ({"chunk": -1}, "chunk"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        EvolutionConfig(**settings)
