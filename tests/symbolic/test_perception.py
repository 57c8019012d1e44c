"""TPF of any rule against closed forms: SGD, momentum, Adam, tanh filters, formulas, networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.base import Inputs
from rayl2o.rules.operands import OperandBank, Signal
from rayl2o.rules.registry import make, parse_rule
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.symbolic.metrics import tpf_of
from rayl2o.symbolic.perception import (
    LINEAR,
    SENSITIVITY,
    TANH,
    Perception,
    formula_slopes,
    momentum_tpf,
    perceive,
    perceive_formula,
)
from tests.symbolic.recorded import recorded


def _formula(text: str) -> SymbolicRule:
    return SymbolicRule.from_formula(text)


def _perceived(text: str, steps: int = 120) -> Perception:
    rule = _formula(text)
    return perceive(rule, {}, recorded(rule, steps=steps))


def test_sgd_looks_at_nothing_past() -> None:
    assert perceive(parse_rule("sgd:lr=0.1"), {}, recorded(_formula("-0.1*g"))).tpf == {"g": 0.0}


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.95])
def test_momentum_has_the_closed_form(beta: float) -> None:
    found = perceive(parse_rule(f"momentum:momentum={beta}"), {}, recorded(_formula("-g")))
    weights = beta ** np.arange(20)
    assert momentum_tpf(beta) == pytest.approx(float(weights @ np.arange(20) / weights.sum()))
    assert found.tpf == {"g": pytest.approx(momentum_tpf(beta), rel=1e-5)}
    assert found.method == SENSITIVITY


def test_momentum_without_a_horizon_is_the_limit() -> None:
    assert momentum_tpf(0.9, None) == pytest.approx(9.0)
    assert momentum_tpf(0.9, 2000) == pytest.approx(9.0)
    assert momentum_tpf(0.9) < 9.0


def test_adam_with_a_still_second_moment_is_momentum() -> None:
    """v of decay 1 - 1e-5 hardly answers to one gradient, but in the one of 16 windows that lies at the start."""
    run = recorded(_formula("-g"), steps=400)
    still = perceive(parse_rule("adam:lr=0.01,beta1=0.9,beta2=0.99999"), {}, run).tpf["g"]
    lively = perceive(parse_rule("adam:lr=0.01,beta1=0.9,beta2=0.9"), {}, run).tpf["g"]
    assert still == pytest.approx(momentum_tpf(0.9), rel=0.02)
    assert abs(lively - momentum_tpf(0.9)) > 2 * abs(still - momentum_tpf(0.9))


def test_adams_slopes_are_those_of_finite_differences() -> None:
    run = recorded(_formula("-g"), steps=20)
    rule = parse_rule("adam:lr=0.01,beta1=0.8,beta2=0.9")
    weights = perceive(rule, {}, run).weights["g"]
    scale = run.grad.square().mean(0).sqrt()

    def last(grad: torch.Tensor) -> torch.Tensor:
        state = {"coord": torch.zeros(grad.shape[1], rule.state_size, dtype=torch.float64)}
        time = torch.arange(20, dtype=torch.float64)[:, None]
        return rule.sequence({}, Inputs(grad=grad, step=time), state)[0][-1]

    for lag in (0, 1, 7):
        shift = torch.zeros_like(run.grad)
        shift[19 - lag] = 1e-5 * scale
        slope = (last(run.grad + shift) - last(run.grad - shift)) / 2e-5
        assert weights[lag] == pytest.approx(float(slope.abs().mean()), rel=1e-5)


def test_adam_in_m_tilde_looks_at_nothing_past() -> None:
    """Table 2 of S: 0 where m~ is the input; in g it looks back."""
    assert _perceived("-0.01*m_tilde").tpf == {"m_tilde": 0.0}


def test_a_tanh_filter_has_eq_3_of_its_slopes() -> None:
    found = _perceived("-0.5*tanh(2*g) - 0.2*3*tanh(lag(g, 4)/3) + 0.1*q")
    assert found.method == TANH
    assert found.tpf == {"g": pytest.approx(0.2 * 4 / 1.2), "q": 0.0}


def test_slopes_of_a_tanh_filter_tend_to_eq_3_at_small_inputs() -> None:
    expression = _formula("-0.5*tanh(g) - 0.2*tanh(lag(g, 4))").expression
    run = recorded(_formula("-g"))
    for scale, tolerance in ((1e-4, 1e-6), (1.0, None)):
        small = type(run)(run.grad * scale, run.delta, run.valid, run.tensor, run.run, run.tensors, 0.0)
        found = tpf_of(formula_slopes(expression, small)["g"])
        if tolerance is None:
            assert abs(found - 0.8 / 0.7) > 1e-3
        else:
            assert found == pytest.approx(0.8 / 0.7, abs=tolerance)


@pytest.mark.parametrize(
    "text", ["-0.5*g + 0.3*lag(g, 1) - ema(g, 0.98) - 0.1*ema(q, 0.9)", "-m_tilde - lag(g_tilde, 3)"]
)
def test_formula_slopes_agree_with_eq_3_where_it_applies(text: str) -> None:
    expression = _formula(text).expression
    by_coefficients = perceive_formula(expression)
    assert by_coefficients.method == LINEAR
    slopes = formula_slopes(expression, recorded(_formula("-g")))
    for signal, weights in by_coefficients.weights.items():
        found = slopes[signal]
        np.testing.assert_allclose(found / found.sum(), np.abs(weights) / np.abs(weights).sum(), atol=1e-12)


def test_formula_slopes_agree_with_the_rule_run_backwards() -> None:
    """A nonlinear formula of g: the chain through its filters equals autograd through the rule itself."""
    rule = _formula("-0.1*g*abs(ema(g, 0.8)) - square(lag(g, 2))*sign(g)")
    run = recorded(rule, steps=20)
    weights = perceive(rule, {}, run).weights["g"]
    seen = run.grad.clone().requires_grad_()
    state = {"coord": torch.zeros(seen.shape[1], rule.state_size, dtype=torch.float64)}
    time = torch.arange(20, dtype=torch.float64)[:, None]
    deltas, _ = rule.sequence(rule.init_phi(dtype=torch.float64), Inputs(grad=seen, step=time), state)
    (slope,) = torch.autograd.grad(deltas[-1].sum(), seen)
    wanted = (slope.abs() * run.grad.square().mean(0).sqrt()).mean(1).flip(0)
    np.testing.assert_allclose(weights, wanted.numpy(), rtol=1e-9)


def test_the_time_has_no_past() -> None:
    assert set(_perceived("-g*exp(-t)*tanh(lag(g, 1))").tpf) == {"g"}
    assert set(_perceived("-g - 0.1*t").tpf) == {"g"}


def test_tuned_constants_are_looked_at() -> None:
    rule = _formula("-0.5*g - 0.5*lag(g, 10)")
    phi = {"coefficients": torch.tensor([-1.0, 1.0]), "gain": torch.tensor(1.0)}
    text = perceive(rule, phi, recorded(rule)).tpf
    assert text == {"g": pytest.approx(5.0)}
    phi["coefficients"] = torch.tensor([-1.0, 0.25])
    assert perceive(rule, phi, recorded(rule)).tpf == {"g": pytest.approx(2.0)}


def test_rnnprop_is_measured_at_its_features() -> None:
    rule = RnnProp(projection=3, hidden=(4,))
    phi = rule.init_phi(generator(0, "test"), torch.float64)
    found = perceive(rule, phi, recorded(_formula("-g"), steps=60)).tpf
    assert set(found) == {"m_tilde", "g_tilde"}
    assert all(0 < value < 19 for value in found.values())


def test_rnnprop_is_measured_by_the_slopes_of_its_network() -> None:
    """Against finite differences of the rule itself, through its public step."""
    rule = RnnProp(projection=3, hidden=(4,))
    phi = rule.init_phi(generator(0, "test"), torch.float64)
    run = recorded(_formula("-g"), steps=20)
    weights = perceive(rule, phi, run).weights
    bank = OperandBank((Signal("m_tilde"), Signal("g_tilde")))
    features = torch.stack(list(bank.run(run.grad).values()), dim=1)

    def last(inputs: torch.Tensor) -> torch.Tensor:
        state = inputs.new_zeros(rule.network.state_size, inputs.shape[2])
        for now in inputs:
            y, state = rule.network.step(phi, list(now), state)
        return rule.output_scale * torch.tanh(y)

    for i, signal in enumerate(("m_tilde", "g_tilde")):
        for lag in (0, 1, 5):
            up, down = features.clone(), features.clone()
            up[19 - lag, i] += 1e-5
            down[19 - lag, i] -= 1e-5
            slope = ((last(up) - last(down)) / 2e-5).abs() * features[:, i].square().mean(0).sqrt()
            assert weights[signal][lag] == pytest.approx(float(slope.mean()), rel=1e-5)


def test_a_rule_that_gives_its_features_is_measured_at_them() -> None:
    """Against RNNprop's own measure: the same network behind the public protocol."""

    class Public:
        kind, coordinatewise, needs = "public", True, frozenset[str]()
        rule = RnnProp(projection=3, hidden=(4,))
        output_scale, network = rule.output_scale, rule.network

        def features(self, phi: object, grads: torch.Tensor) -> dict[str, torch.Tensor]:
            values = OperandBank((Signal("m_tilde"), Signal("g_tilde"))).run(grads)
            return {operand.signal: value for operand, value in values.items()}

    phi = Public.rule.init_phi(generator(0, "test"), torch.float64)
    run = recorded(_formula("-g"), steps=60)
    found = perceive(Public(), phi, run)  # type: ignore[arg-type]
    wanted = perceive(Public.rule, phi, run)
    for name, weights in wanted.weights.items():
        np.testing.assert_allclose(found.weights[name], weights, rtol=1e-12)


@pytest.mark.parametrize(("kind", "reads"), [("mlp", "whole tensors"), ("scale", "whole tensors"), ("adamw", "params")])
def test_a_rule_that_reads_more_than_its_gradient_is_refused(kind: str, reads: str) -> None:
    with pytest.raises(UserError, match=reads):
        perceive(make(kind, {}), {}, recorded(_formula("-g")))


def test_a_nonlinear_formula_needs_trajectories_long_enough() -> None:
    with pytest.raises(UserError, match="linear formula or a sum of tanh"):
        perceive_formula(_formula("-square(g)").expression)
    with pytest.raises(UserError, match="shorter than the horizon"):
        _perceived("-square(g)", steps=19)


def test_a_constant_formula_perceives_nothing() -> None:
    assert _perceived("0.5*exp(0.0)").tpf == {}
