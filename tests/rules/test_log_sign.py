"""Log-and-sign against the piecewise definition of Andrychowicz et al."""

from __future__ import annotations

import math

import pytest
import torch

from rayl2o.rules.log_sign import EPS, log_sign


@pytest.mark.parametrize("k", [5.0, 10.0])
def test_it_is_the_piecewise_definition(k: float) -> None:
    sizes = torch.cat((torch.logspace(-9, 3, 200, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))
    grad = torch.cat((sizes, -sizes))
    a, b = log_sign(grad, k)
    for g, x, y in zip(grad.tolist(), a.tolist(), b.tolist(), strict=True):
        if abs(g) + EPS > math.exp(-k):
            assert x == pytest.approx(math.log(abs(g) + EPS) / k, abs=1e-12)
        else:
            assert x == -1.0
        assert y == pytest.approx(math.copysign(1.0, g) if abs(g) >= math.exp(-k) else math.exp(k) * g, abs=1e-12)


def test_epsilon_is_that_of_float32() -> None:
    assert torch.finfo(torch.float32).eps == EPS


def test_derivatives_at_zero_are_zero_and_exp_k() -> None:
    grad = torch.zeros(1, requires_grad=True)
    a, b = log_sign(grad, 5.0)
    assert torch.autograd.grad(a, grad)[0].item() == 0.0
    assert torch.autograd.grad(b, grad)[0].item() == pytest.approx(math.exp(5.0))
