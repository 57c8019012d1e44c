from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.noisy_quadratic import NAMED, NoisyQuadratic, NoisyQuadraticBatch
from rayl2o.tasks.settings import from_settings


def build(k: int, family: NoisyQuadratic, *, alike: bool = False) -> NoisyQuadraticBatch:
    rng = torch.Generator().manual_seed(0)
    specs = [family.sample(rng)] * k if alike else [family.sample(rng) for _ in range(k)]
    return family.build(specs, dtype=torch.float64)


def test_spectra() -> None:
    eigenvalues = torch.linalg.eigvalsh(build(200, NoisyQuadratic(size=6)).clean.hessian)
    torch.testing.assert_close(eigenvalues[:, -1], torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(eigenvalues[:, 0], torch.full((200,), 1e-3, dtype=torch.float64))
    exponents = eigenvalues[:, 1:-1].log10()
    assert abs(exponents.mean() + 1.5) < 0.1
    assert abs(exponents.std() - 3 / 12**0.5) < 0.1
    two = torch.linalg.eigvalsh(build(3, NoisyQuadratic(size=5, condition=100, spectrum="two-point")).clean.hessian)
    torch.testing.assert_close(two, torch.tensor([0.01, 0.01, 0.01, 1.0, 1.0]).double().expand(3, -1))


@pytest.mark.parametrize("covariance", ["hessian", "isotropic"])
def test_noise_has_the_covariance_that_is_said(covariance: str) -> None:
    tasks = build(6_000, NoisyQuadratic(size=3, condition=4, noise=0.5, covariance=covariance), alike=True)
    noise = tasks.draw_batch(range(6_000))
    assert noise is not None
    assert noise.mean(0).abs().max() < 0.03
    torch.testing.assert_close(noise.T.cov(), tasks.covariance[0], atol=0.02, rtol=0)
    x = tasks.init_params([1] * 6_000)
    losses, grads = tasks.loss_and_grad(x, noise)
    clean = tasks.expected_loss(x)[0]
    assert losses.mean().item() == pytest.approx(float(clean), abs=0.04)
    torch.testing.assert_close(grads.mean(0), tasks.clean.loss_and_grad(x, None)[1][0], atol=0.03, rtol=0)
    off = x[0] - tasks.optimum[0]
    variance = 2 * 0.25 * clean if covariance == "hessian" else 0.25 * off.square().sum()
    assert losses.var().item() == pytest.approx(float(variance), rel=0.1)


def test_a_loss_and_its_gradient_are_those_of_one_stochastic_function() -> None:
    tasks = build(4, NoisyQuadratic(size=5))
    noise, x = tasks.draw_batch(range(4)), tasks.init_params(range(4)).requires_grad_()
    assert noise is not None
    expected = tasks.expected_loss(x) + (noise * (x - tasks.optimum)).sum(1)
    (grad,) = torch.autograd.grad(expected.sum(), x)
    loss, slope = tasks.loss_and_grad(x.detach(), noise)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(slope, grad)
    assert torch.equal(tasks.loss(tasks.optimum, noise), torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("covariance", ["hessian", "isotropic"])
def test_sgd_hovers_at_the_risk_of_theory(covariance: str) -> None:
    """At rate a: f = sum_i a noise^2 s_i / (2 (2 - a l_i)), with s = l for noise^2 H and 1 for noise^2 I."""
    rate, family = 0.5, NoisyQuadratic(size=4, condition=4, noise=0.3, covariance=covariance)
    tasks = build(250, family, alike=True)
    x, risks = tasks.init_params(range(250)), []
    for step in range(140):
        noise = tasks.draw_batch(range(250 * step, 250 * (step + 1)))
        x = x - rate * tasks.loss_and_grad(x, noise)[1]
        if step >= 60:
            risks.append(tasks.expected_loss(x).mean())
    eigenvalues = torch.linalg.eigvalsh(tasks.clean.hessian[0])
    share = eigenvalues if covariance == "hessian" else torch.ones(4, dtype=torch.float64)
    theory = (rate * 0.3**2 * share / (2 * (2 - rate * eigenvalues))).sum()
    assert torch.stack(risks).mean().item() == pytest.approx(float(theory), rel=0.05)


def test_without_noise_there_is_no_data() -> None:
    tasks = build(3, NoisyQuadratic(noise=0.0))
    assert tasks.draw_batch(range(3)) is None
    assert torch.equal(tasks.covariance, torch.zeros(3, 20, 20, dtype=torch.float64))
    loss, grad = tasks.loss_and_grad(tasks.optimum, None)
    assert torch.equal(loss, torch.zeros(3, dtype=torch.float64))
    assert torch.equal(grad, torch.zeros(3, 20, dtype=torch.float64))


def test_name() -> None:
    named = NAMED["ill-conditioned-quadratic"]
    family = from_settings(NoisyQuadratic, {**named.defaults, **named.fixed}, "ill-conditioned-quadratic")
    assert (family.condition, family.noise) == (1e4, 0.0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"size": 1}, "noisy-quadratic.size"),
        ({"condition": 0.5}, "noisy-quadratic.condition"),
        ({"noise": -1.0}, "noisy-quadratic.noise"),
        ({"spectrum": "flat"}, "unknown spectrum"),
        ({"covariance": "identity"}, "unknown covariance"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NoisyQuadratic(**bad)
