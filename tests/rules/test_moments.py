"""Running moments: exact corrections, dtypes, and derivatives at zero."""

from __future__ import annotations

import pytest
import torch

from rayl2o.rules.moments import bias_correction, cast, ema, ema_of_square, safe_sqrt


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95, 0.999, 0.999999])
@pytest.mark.parametrize("step", [0, 1, 999])
def test_bias_correction_keeps_its_digits_in_float32(beta: float, step: int) -> None:
    exact = 1.0 - beta ** (step + 1)
    like = torch.zeros((), dtype=torch.float32)
    for given in (beta, torch.tensor(beta, dtype=torch.float64)):
        found = bias_correction(given, torch.tensor(step), like)
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(exact, rel=3e-7)


def test_bias_correction_takes_a_step_per_column() -> None:
    steps = torch.tensor([[0, 4], [1, 5]])
    found = bias_correction(0.9, steps, torch.zeros(2, 2, dtype=torch.float64))
    torch.testing.assert_close(found, 1.0 - 0.9 ** (steps + 1.0).double())


def test_a_float64_setting_does_not_promote_float32() -> None:
    g, beta = torch.ones(3, 2), torch.tensor([[0.9], [0.5], [0.0]], dtype=torch.float64)
    assert ema(torch.zeros(3, 2), g, beta).dtype == torch.float32
    torch.testing.assert_close(ema(torch.zeros(3, 2), 2 * g, beta)[:, 0], torch.tensor([0.2, 1.0, 2.0]))
    torch.testing.assert_close(ema_of_square(g, 2 * g, beta)[:, 0], torch.tensor([1.3, 2.5, 4.0]))
    assert cast(0.5, g) == 0.5


def test_safe_sqrt_is_sqrt_with_a_finite_derivative() -> None:
    x = torch.tensor([0.0, 1e-40, 4.0], requires_grad=True)
    root = safe_sqrt(x)
    torch.testing.assert_close(root, torch.sqrt(x), rtol=0, atol=0)
    (derivative,) = torch.autograd.grad(root.sum(), x)
    assert derivative[0] == 0.0
    assert torch.isfinite(derivative).all()
    assert derivative[2] == 0.25
    with torch.no_grad():
        assert torch.equal(safe_sqrt(x), root)
