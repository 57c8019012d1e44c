"""R2, TPF and MC against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.metrics import impulse_response, r2, sensitivity, tpf, tpf_of
from tests.symbolic.recorded import recorded


def _tpf(formula: str) -> dict[str, float]:
    return tpf(SymbolicRule.from_formula(formula).expression)


def _momentum(beta: float) -> float:
    """sum i beta^i / sum beta^i over i = 0..19, in closed form; beta / (1 - beta) without the cut at 20."""
    return beta / (1 - beta) - 20 * beta**20 / (1 - beta**20)


def test_r2() -> None:
    y = np.array([1.0, 2.0, 3.0, 4.0])
    assert r2(y, y) == 1.0
    assert r2(y, np.full(4, 2.5)) == 0.0
    assert r2(y, y[::-1].copy()) == pytest.approx(1 - 20 / 5)
    assert r2(y, np.array([1.0, np.inf, 3.0, 4.0])) == -math.inf
    assert math.isnan(r2(y[:1], y[:1]))


def test_tpf_of_sgd_is_zero_and_of_momentum_the_closed_form() -> None:
    assert _tpf("-0.1*g") == {"g": 0.0}
    for beta in (0.5, 0.9, 0.99):
        assert _tpf(f"-0.3*ema(g, {beta})")["g"] == pytest.approx(_momentum(beta))


def test_tpf_of_lags_is_eq_3_of_s() -> None:
    weights = [-0.5, 0.3, 0.0, -0.2]
    formula = "-0.5*g + 0.3*lag(g, 1) - 0.2*lag(g, 3)"
    wanted = sum(abs(c) * i for i, c in enumerate(weights)) / sum(abs(c) for c in weights)
    assert _tpf(formula) == {"g": pytest.approx(wanted)}


def test_tpf_is_per_signal_and_terms_of_a_signal_add_before_the_modulus() -> None:
    assert _tpf("-0.1*q - 0.2*ema(g, 0.9)") == {"q": 0.0, "g": pytest.approx(_momentum(0.9))}
    response = impulse_response(SymbolicRule.from_formula("-0.2*ema(g, 0.9) + 0.02*g").expression.linear_terms() or {})
    np.testing.assert_allclose(response["g"], [0.0, *(-0.02 * 0.9**i for i in range(1, 20))], atol=1e-15)


def test_tpf_of_nothing_is_zero_and_of_a_nonlinear_formula_refused() -> None:
    assert tpf_of(np.zeros(20)) == 0.0
    with pytest.raises(UserError, match="linear formula without offset"):
        _tpf("-tanh(ema(g, 0.9))")


@pytest.mark.parametrize(
    "formula", ["-0.1*g", "-0.3*ema(g, 0.9)", "-0.5*g + 0.3*lag(g, 1) - 0.2*lag(g, 3) - ema(g, 0.98)"]
)
def test_sensitivity_agrees_with_eq_3_on_linear_rules(formula: str) -> None:
    rule = SymbolicRule.from_formula(formula)
    by_sensitivity = tpf_of(sensitivity(rule, rule.init_phi(dtype=torch.float64), recorded(rule)))
    assert by_sensitivity == pytest.approx(_tpf(formula)["g"], abs=1e-12)


def test_sensitivity_weights_are_the_impulse_response_up_to_a_unit() -> None:
    rule = SymbolicRule.from_formula("-0.5*g + 0.3*lag(g, 1) - 0.2*lag(g, 3)")
    weights = sensitivity(rule, rule.init_phi(dtype=torch.float64), recorded(rule))
    np.testing.assert_allclose(weights / weights[0], [1.0, 0.6, 0.0, 0.4] + [0.0] * 16, atol=1e-12)


def test_sensitivity_of_a_nonlinear_rule_is_the_mean_slope() -> None:
    rule = SymbolicRule.from_formula("-square(g)")
    run = recorded(rule, steps=20)
    weights = sensitivity(rule, rule.init_phi(dtype=torch.float64), run, chunks=1)
    scale = run.grad.square().mean(0).sqrt()
    assert weights[0] == pytest.approx(float((2 * run.grad[19].abs() * scale).mean()))
    assert (weights[1:] == 0).all()


def test_sensitivity_of_a_normalising_rule_ignores_the_size_of_gradients() -> None:
    rule = SymbolicRule.from_formula("-0.01*m_tilde")
    run = recorded(rule)
    small = replace(run, grad=run.grad * 10.0 ** -torch.arange(run.grad.shape[1]).remainder(4).double())
    one, other = (tpf_of(sensitivity(rule, rule.init_phi(dtype=torch.float64), r)) for r in (run, small))
    assert one == pytest.approx(other, rel=1e-6)
    assert 2 < one < 10  # looks back about as far as an average of .95 inside 20 lags


def test_steps_after_a_divergence_do_not_count() -> None:
    rule = SymbolicRule.from_formula("-0.5*g - 0.5*lag(g, 10)")
    run = recorded(rule, steps=60)
    cut = replace(
        run, grad=torch.where(torch.arange(60)[:, None] < 30, run.grad, 0.0), valid=torch.full_like(run.valid, 30)
    )
    assert tpf_of(sensitivity(rule, rule.init_phi(dtype=torch.float64), cut)) == pytest.approx(5.0)


def test_trajectories_shorter_than_the_horizon_are_refused() -> None:
    rule = SymbolicRule.from_formula("-g")
    with pytest.raises(UserError, match="shorter than the horizon"):
        sensitivity(rule, rule.init_phi(dtype=torch.float64), recorded(rule, steps=10))
