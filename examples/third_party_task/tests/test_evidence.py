"""The laws of a task, and what the evidence is."""

from __future__ import annotations

import pytest
import torch
from rayl2o_gp import GPEvidence

from rayl2o.errors import UserError
from rayl2o.tasks.laws import LAWS, SLOW_LAWS, check


@pytest.mark.parametrize("family", [GPEvidence(), GPEvidence(observations=7, inputs=1, floor=0.01)])
def test_laws(family: GPEvidence) -> None:
    assert check(family, laws=(*LAWS, *SLOW_LAWS), k=3) == []


def test_the_loss_is_the_density_of_the_observations() -> None:
    tasks = GPEvidence(floor=0.2).build([GPEvidence(floor=0.2).sample(torch.Generator())], dtype=torch.float64)
    params = torch.tensor([[-1.0, 0.5, 0.0, 0.3, -1.5]], dtype=torch.float64)
    distance = (tasks.squares[0] / params[0, :3, None, None].exp() ** 2).sum(0)
    covariance = torch.exp(0.6 - distance / 2) + (torch.tensor(-3.0).exp() + 0.04) * torch.eye(32)
    density = torch.distributions.MultivariateNormal(torch.zeros(32, dtype=torch.float64), covariance)
    constant = torch.tensor(2 * torch.pi * 0.04, dtype=torch.float64).log() / 2
    expected = -density.log_prob(tasks.targets[0]) / 32 - constant  # type: ignore[no-untyped-call]
    torch.testing.assert_close(tasks.loss(params, None)[0], expected)


def test_zero_is_a_lower_bound() -> None:
    tasks = GPEvidence().build([GPEvidence().sample(torch.Generator())] * 50, dtype=torch.float64)
    params = 4 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert bool((tasks.loss(params, None) > 0).all())


@pytest.mark.parametrize("settings", [{"observations": 0}, {"inputs": 0}, {"floor": 0.0}])
def test_settings_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"gp-evidence.{next(iter(settings))} .*use "):
        GPEvidence(**settings)
