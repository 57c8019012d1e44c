from __future__ import annotations

import math

import pytest
import torch

from rayl2o.tasks.analytic.composite import Term
from rayl2o.tasks.analytic.terms import Absolute, Norm, Ridge, Waves

K, D = 4, 5
HEIGHT = torch.linspace(-1, 2, K * D, dtype=torch.float64).reshape(K, D)
TERMS: dict[str, Term] = {
    "absolute": Absolute(0.3),
    "ridge": Ridge(torch.tensor([0.1, 0.2, 0.0, 1.0, 2.0], dtype=torch.float64)),
    "norm": Norm(0.7),
    "waves": Waves(HEIGHT, 2 * math.pi, 3.0),
}


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS.keys())
def test_slope_and_curvature_are_those_of_autograd(term: Term) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(K, D, generator=rng, dtype=torch.float64).requires_grad_()
    v = torch.randn(K, D, generator=rng, dtype=torch.float64)
    (slope,) = torch.autograd.grad(term.value(x).sum(), x, create_graph=True)
    torch.testing.assert_close(term.slope(x.detach()), slope.detach(), rtol=1e-12, atol=1e-14)
    (product,) = torch.autograd.grad(slope, x, v, allow_unused=True, materialize_grads=True)
    found = term.product(x.detach(), v)
    torch.testing.assert_close(torch.zeros_like(v) if found is None else found, product, rtol=1e-12, atol=1e-14)


def test_values() -> None:
    x = torch.tensor([[3.0, -4.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert TERMS["absolute"].value(x).item() == pytest.approx(0.3 * 7)
    assert TERMS["ridge"].value(x).item() == pytest.approx((0.1 * 9 + 0.2 * 16) / 2)
    assert TERMS["norm"].value(x).item() == pytest.approx(0.7 * 5)
    waves = Waves(torch.tensor([[2.0, 1.0]], dtype=torch.float64), math.pi, 5.0)
    assert waves.value(torch.tensor([[1.0, 2.0]], dtype=torch.float64)).item() == pytest.approx(-2 + 1 + 5)


@pytest.mark.parametrize("term", [Absolute(0.3), Norm(0.7)])
def test_kinks_have_slope_zero_as_autograd_has(term: Term) -> None:
    x = torch.zeros(2, D, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(term.value(x).sum(), x)
    assert torch.equal(term.slope(x.detach()), torch.zeros_like(x))
    assert torch.equal(expected, torch.zeros_like(x))
