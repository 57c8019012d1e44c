"""The network of the small MLP."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rayl2o.rules.base import Phi
from rayl2o.rules.small_mlp_network import SmallNetwork
from rayl2o.seeds import generator
from tests.rules.small_mlp_reference import displacement

NET = SmallNetwork((5, 4), exp_mult=0.3, step_mult=0.2)
K, N = 3, 7

each_step = pytest.mark.parametrize("step", [torch.tensor(4), torch.tensor([[0], [9], [4]])], ids=["one", "each"])


def _problem(*batch: int) -> tuple[Phi, Tensor]:
    draw = generator("small network", *batch)
    phi = {n: torch.randn(*batch, *s, generator=draw, dtype=torch.float64) for n, s in NET.shapes().items()}
    return phi, torch.randn(28, K, N, generator=draw, dtype=torch.float64)


def test_fresh_weights() -> None:
    phi = SmallNetwork((400, 4), 1e-3, 1e-3).init(generator("fresh"), torch.float64)
    assert {name: tuple(w.shape) for name, w in phi.items()} == {
        "mlp.w0": (39, 400),
        "mlp.b0": (400,),
        "mlp.w1": (400, 4),
        "mlp.b1": (4,),
        "mlp.w2": (4, 2),
        "mlp.b2": (2,),
    }
    assert all(not phi[f"mlp.b{i}"].any() for i in range(3))
    scaled = phi["mlp.w0"] * 39**0.5
    assert float(scaled.abs().max()) <= 2.0
    assert float(scaled.std()) == pytest.approx(0.880, abs=0.02)  # of a normal cut at 2
    assert float(phi["mlp.w1"].abs().max()) <= 2.0 / 20.0


@each_step
def test_it_is_the_reference(step: Tensor) -> None:
    phi, x = _problem()
    found = NET.displacement(phi, x, step)
    arrays = {name: w.numpy() for name, w in phi.items()}
    for k, at in enumerate(step.reshape(-1).expand(K).tolist()):
        expected = displacement(arrays, x[:, k].t().numpy(), at, NET.exp_mult, NET.step_mult)
        np.testing.assert_allclose(found[k].numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("k", [1, K])
def test_a_factor_multiplies_the_features(k: int) -> None:
    phi, x = _problem()
    factor = torch.rand(28, k, 1, generator=generator("factor"), dtype=torch.float64)
    found = NET.displacement(phi, x[:, :k], torch.tensor(2), factor)
    torch.testing.assert_close(found, NET.displacement(phi, x[:, :k] * factor, torch.tensor(2)), rtol=1e-12, atol=1e-15)


@each_step
def test_weights_of_their_own_equal_a_loop(step: Tensor) -> None:
    phis, x = _problem(K)
    factor = torch.rand(28, K, 1, generator=generator("factor"), dtype=torch.float64)
    found = NET.displacement_each(phis, x, step, factor)
    steps = step.reshape(-1).expand(K)
    for k in range(K):
        own = {name: w[k] for name, w in phis.items()}
        expected = NET.displacement(own, (x * factor)[:, k : k + 1], steps[k])
        torch.testing.assert_close(found[k : k + 1], expected, rtol=1e-12, atol=1e-15)


@each_step
def test_pullback_is_autograd(step: Tensor) -> None:
    phi, x = _problem()
    upstream = torch.randn(K, N, generator=generator("upstream"), dtype=torch.float64)
    into = torch.empty_like(x)
    found = NET.pullback(phi, x, step, upstream, into)
    leaves = {name: w.clone().requires_grad_() for name, w in phi.items()}
    features = x.clone().requires_grad_()
    delta = NET.displacement(leaves, features, step)
    expected = torch.autograd.grad(delta, [*leaves.values(), features], upstream)
    for a, b in zip((*found, into), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
    unasked = NET.pullback(phi, x, step, upstream, None)
    assert all(torch.equal(a, b) for a, b in zip(found, unasked, strict=True))
