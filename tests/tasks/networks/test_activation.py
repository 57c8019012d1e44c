from __future__ import annotations

import pytest
import torch

from rayl2o.tasks.networks.activation import ACTIVATIONS

# The kink of relu and saturation are where a hand-written derivative goes wrong.
Z = torch.tensor([-40.0, -2.0, -0.5, 0.0, 0.3, 1.7, 40.0], dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_equal_autograd(name: str) -> None:
    activation = ACTIVATIONS[name]
    z = Z.clone().requires_grad_()
    a = activation.forward(z)
    x = torch.linspace(-1, 2, len(Z), dtype=torch.float64)
    (slope,) = torch.autograd.grad(a.sum(), z, create_graph=True)
    torch.testing.assert_close(activation.chain(x, a.detach()), x * slope.detach(), rtol=1e-12, atol=1e-15)
    second = torch.zeros_like(Z)
    if slope.requires_grad:
        (second,) = torch.autograd.grad(slope.sum(), z)
    bend = torch.zeros_like(Z) if activation.bend is None else activation.bend(a.detach())
    torch.testing.assert_close(bend * slope.detach(), second, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_is_overwritten(name: str) -> None:
    activation, z, x = ACTIVATIONS[name], Z.clone(), torch.ones_like(Z)
    a = activation.forward(z)
    kept = a.clone()
    activation.chain(x, a)
    if activation.bend is not None:
        activation.bend(a)
    assert torch.equal(z, Z)
    assert torch.equal(a, kept)
    assert torch.equal(x, torch.ones_like(Z))
