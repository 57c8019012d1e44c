"""FIR to IIR: exact filters are recovered, and what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Lag, Operand, Signal
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.compress import ascending, compress, fit_decay, identifiable_beta
from rayl2o.symbolic.filters import FilterTerm, filter_of

LAGS = np.arange(20)


def _fir(weights: np.ndarray, signal: str = "g", inner: float | None = None) -> list[FilterTerm]:
    operands: list[Operand] = [Signal(signal), *(Lag(signal, lag) for lag in range(1, len(weights)))]
    scale = 1.0 if inner is None else 1.0 / inner
    return [FilterTerm(o, float(w) * scale, inner) for o, w in zip(operands, weights, strict=True)]


def _decay(beta: float, horizon: int = 20) -> np.ndarray:
    return np.asarray((1 - beta) * beta ** np.arange(horizon))


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.8, 0.9, 0.94])
def test_a_true_exponential_is_recovered(beta: float) -> None:
    found = fit_decay(-0.7 * _decay(beta))
    assert list(found.betas) == pytest.approx([beta], abs=1e-6)
    assert list(found.weights) == pytest.approx([-0.7], abs=1e-6)
    assert found.direct == pytest.approx(0.0, abs=1e-6)
    assert found.error < 1e-6


@pytest.mark.parametrize("betas", [(0.5, 0.9), (0.8, 0.94), (0.2, 0.4)])
def test_a_sum_of_two_is_recovered(betas: tuple[float, float]) -> None:
    found = fit_decay(0.3 * (LAGS == 0) - 0.7 * _decay(betas[0]) - 0.2 * _decay(betas[1]), states=2)
    assert list(found.betas) == pytest.approx(list(betas), abs=1e-6)
    assert list(found.weights) == pytest.approx([-0.7, -0.2], abs=1e-6)
    assert found.direct == pytest.approx(0.3, abs=1e-6)


def test_the_error_is_the_norm_that_is_left() -> None:
    response = -_decay(0.8) + 0.02 * np.random.default_rng(derive_seed(0, "test", "noise")).standard_normal(20)
    found = fit_decay(response)
    fitted = found.direct * (LAGS == 0) + found.weights[0] * _decay(found.betas[0])
    wanted = np.linalg.norm(response - fitted) / np.linalg.norm(response)
    assert found.error == pytest.approx(float(wanted), rel=1e-9)
    assert fit_decay(response, states=2).error <= found.error


def test_betas_stay_within_what_a_window_can_tell() -> None:
    assert identifiable_beta(20) == pytest.approx(0.95)
    found = fit_decay(-_decay(0.99))
    assert found.betas[0] <= 0.95 + 1e-12
    assert fit_decay(-_decay(0.99), limit=0.995).betas[0] == pytest.approx(0.99, abs=1e-6)
    assert max(fit_decay(-_decay(0.99) - _decay(0.98), states=2).betas) <= 0.95 + 1e-12


def test_sgd_needs_no_state() -> None:
    found = fit_decay(-0.1 * (LAGS == 0))
    assert found.direct + sum(w * (1 - b) for w, b in zip(found.weights, found.betas, strict=True)) == pytest.approx(
        -0.1
    )
    assert compress(parse_expression("-0.1*g")).expression == Expression.linear({Signal("g"): -0.1})


@pytest.mark.parametrize("response", [np.zeros(20), np.full(20, np.nan), np.ones(3)])
def test_a_response_that_cannot_be_fitted_is_refused(response: np.ndarray) -> None:
    with pytest.raises(UserError, match="cannot be fitted"):
        fit_decay(response)


def test_a_fir_rule_becomes_an_average_that_runs_alike() -> None:
    fir = filter_of(_fir(-0.5 * _decay(0.6, 80)))
    found = compress(fir)
    assert found.buffers == (79, 1)
    assert found.state_bytes == (316, 4)
    grad = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_run(found.expression, grad), _run(fir, grad), rtol=0, atol=1e-9)


def test_each_signal_is_compressed_and_moments_counted() -> None:
    fir = filter_of([*_fir(-0.5 * _decay(0.8), "m_tilde"), *_fir(-0.1 * _decay(0.5) + 0.01 * (LAGS == 0), "g_tilde")])
    found = compress(fir)
    assert found.state_bytes == (4 * 40, 16)
    assert set(found.decays) == {"m_tilde", "g_tilde"}
    assert list(found.gains["g_tilde"]) == pytest.approx([-0.09, -0.09], abs=1e-6)
    assert compress(fir, states=2).buffers[1] <= 6


def test_a_tanh_filter_keeps_its_gamma_and_is_exact_at_small_inputs() -> None:
    fir = filter_of(_fir(-0.5 * _decay(0.6, 80), "g", inner=0.25))
    found = compress(fir)
    small = 1e-4 * torch.randn(120, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_run(found.expression, small), _run(fir, small), rtol=0, atol=1e-12)
    large = 30.0 * torch.ones(200, 1, dtype=torch.float64)
    assert float(_run(found.expression, large)[-1]) == pytest.approx(-0.5 * 4, rel=1e-4)
    assert found.buffers == (79, 1)


def test_few_averages_pass_as_they_are() -> None:
    terms: dict[Operand, float] = {Signal("g"): -0.1, Ema("g", 0.98): -0.2, Ema("q", 0.999): 0.05}
    rule = Expression.linear(terms)
    assert compress(rule).expression == rule
    assert compress(rule).decays["g"].error == 0.0


def test_many_slow_averages_are_followed_to_their_end() -> None:
    found = compress(parse_expression("-0.1*ema(g, 0.98) - 0.1*ema(g, 0.981)"))
    assert found.decays["g"].betas[0] == pytest.approx(0.9805, abs=1e-4)
    assert found.gains["g"][1] == pytest.approx(-0.2, abs=1e-4)


def test_a_gain_that_becomes_positive_is_refused() -> None:
    """The response ends before it comes back: what the window shows of it descends, the average that fits it ascends."""
    weights = 0.05 * _decay(0.95)
    weights[0] -= 0.05 * float(weights.sum()) + 0.0321
    before = float(weights.sum())
    assert before < 0
    with pytest.raises(UserError, match="steady-state gain of g would become positive"):
        compress(filter_of(_fir(weights)))


def test_ascending_names_what_turned() -> None:
    assert ascending({"g": -1.0, "q": 0.5}, {"g": 0.1, "q": 0.6, "m_tilde": -1.0}) == ("g",)
    assert ascending({}, {"q": 0.1}) == ("q",)
    assert ascending({"g": -1.0}, {"g": 1e-12, "q": -1.0}) == ()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("-square(g)", "only a filter"),
        ("g + 1", "only a filter"),
        ("0.0", "only a filter"),
        ("-g - t", "no filter input"),
        ("-tanh(g) - tanh(2*lag(g, 1))", "differ in gamma"),
        ("-tanh(g) - lag(g, 1)", "differ in gamma"),
    ],
)
def test_what_is_no_filter_is_refused(text: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        compress(parse_expression(text))


@pytest.mark.parametrize("states", [0, 3, -1])
def test_other_numbers_of_states_are_refused(states: int) -> None:
    with pytest.raises(UserError, match="averages per signal"):
        compress(parse_expression("-g"), states)


def _run(expression: Expression, grad: torch.Tensor) -> torch.Tensor:
    rule = SymbolicRule(expression)
    phi = rule.init_phi(dtype=torch.float64)
    state = rule.init_state(phi, Layout.flat(grad.shape[1]), 1, dtype=torch.float64)
    time = torch.arange(len(grad), dtype=torch.float64)[:, None]
    return rule.sequence(phi, Inputs(grad=grad, step=time), {"coord": state["coord"][0]})[0]


def test_a_sum_that_is_one_average_twice_is_merged() -> None:
    merged = compress(parse_expression("-0.1*ema(g, 0.9) - 0.2*ema(g, 0.9)")).decays["g"]
    assert list(merged.weights) == pytest.approx([-0.3])
    assert set(compress(parse_expression("-ema(g, 0.9)")).expression.operands) == {Ema("g", 0.9)}
