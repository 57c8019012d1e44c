"""Mapping curves against closed forms: slopes of linear rules and of their averages, a network that is itself linear."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.registry import make
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.rnnprop_extra import RnnPropExtra
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.symbolic.mapping_curves import POINTS, STATES, MappingCurve, mapping_curves
from rayl2o.symbolic.trajectories import Trajectories
from tests.symbolic.recorded import recorded

OWN, ACROSS = -0.3, 0.1


@dataclass(frozen=True)
class _LinearNetwork:
    """y such that output_scale tanh(y) = OWN * m~ + ACROSS * g~ + half of the state; the state is the last m~."""

    state_size: ClassVar[int] = 1

    def step(self, phi: Mapping[str, Tensor], now: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.atanh((OWN * now[0] + ACROSS * now[1] + 0.5 * state[0]) / 100.0), now[0][None]


class _LinearRnnProp(RnnProp):
    network: ClassVar[_LinearNetwork] = _LinearNetwork()  # type: ignore[assignment]


@dataclass(frozen=True)
class _PoisonedNetwork:
    state_size: ClassVar[int] = 1

    def step(self, phi: Mapping[str, Tensor], now: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        return now[0] * phi["w"], state


class _Poisoned(RnnProp):
    network: ClassVar[_PoisonedNetwork] = _PoisonedNetwork()  # type: ignore[assignment]


def _unit(trajectories: Trajectories) -> Trajectories:
    """With every coordinate's gradient of rms 1."""
    return replace(trajectories, grad=trajectories.grad / trajectories.grad.square().mean(0).sqrt())


@pytest.mark.parametrize(
    ("text", "slope"), [("-0.1*g", -0.1), ("-0.1*ema(g, 0.9)", -0.01), ("-0.1*g + 3.0*lag(g, 1)", -0.1)]
)
def test_a_linear_rule_is_a_line_of_its_own_slope(text: str, slope: float) -> None:
    rule = SymbolicRule.from_formula(text)
    (curve,) = mapping_curves(rule, rule.init_phi(dtype=torch.float64), rule, _unit(recorded(rule)))
    assert (curve.input, len(curve.x), curve.states) == ("g", POINTS, 4 * 32)
    for part in (curve.network.middle, curve.formula.low):
        steps = np.diff(part) / np.diff(curve.x)
        assert steps == pytest.approx(np.full(POINTS - 1, slope), rel=1e-6)


def test_the_same_rule_twice_is_the_same_curve() -> None:
    rule = SymbolicRule.from_formula("-0.02*q - 0.1*ema(g_tilde, 0.8)*abs(q)", clamp=0.05)
    (curve,) = mapping_curves(rule, rule.init_phi(dtype=torch.float64), rule, recorded(rule))
    assert curve.network == curve.formula
    assert curve.r2 == 1.0
    assert max(map(abs, curve.network.high)) <= 0.05
    assert all(low <= middle <= high for low, middle, high in zip(*vars(curve.network).values(), strict=True))


def test_a_feature_is_moved_alone() -> None:
    formula = SymbolicRule.from_formula("-0.02*m_tilde - 0.03*ema(g_tilde, 0.5) + 0.7*lag(m_tilde, 1)")
    curves = mapping_curves(_LinearRnnProp(output_scale=100.0), {}, formula, recorded(formula, runs=1))
    assert [curve.input for curve in curves] == ["m_tilde", "g_tilde"]
    for curve, network, own in zip(curves, (OWN, ACROSS), (-0.02, -0.015), strict=True):
        assert np.diff(curve.network.middle) / np.diff(curve.x) == pytest.approx(np.full(POINTS - 1, network), rel=1e-6)
        assert np.diff(curve.formula.high) / np.diff(curve.x) == pytest.approx(np.full(POINTS - 1, own), rel=1e-6)
        assert "network's state" in curve.held


def test_a_feature_that_the_formula_does_not_read_is_shown_too() -> None:
    formula = SymbolicRule.from_formula("-0.02*m_tilde")
    m_tilde, g_tilde = mapping_curves(_LinearRnnProp(output_scale=100.0), {}, formula, recorded(formula, runs=1))
    assert len(set(np.round(g_tilde.formula.middle, 12))) == 1
    assert np.diff(g_tilde.network.middle) / np.diff(g_tilde.x) == pytest.approx(np.full(POINTS - 1, ACROSS), rel=1e-6)
    assert m_tilde.formula != g_tilde.formula


def test_a_feature_that_no_formula_can_read() -> None:
    formula = SymbolicRule.from_formula("-0.02*m_tilde")
    rule = RnnPropExtra(projection=4, hidden=(5,))
    phi = rule.init_phi(generator(1, "test"), dtype=torch.float64)
    curves = mapping_curves(rule, phi, formula, recorded(formula, runs=1))
    assert [curve.input for curve in curves] == list(rule.features(phi, recorded(formula, runs=1).grad))
    assert len(curves) == 3


def test_a_network_passes_through_what_was_recorded() -> None:
    """At a single state, the curve at the recorded input is the recorded update: state and time are the true ones."""
    rule = RnnProp(projection=4, hidden=(5,))
    phi = rule.init_phi(generator(1, "test"), dtype=torch.float64)
    formula = SymbolicRule.from_formula("-0.001*m_tilde")
    before = recorded(formula, steps=60).columns(torch.arange(32) == 3)
    state = rule.init_state(phi, Layout.flat(1), 1, dtype=torch.float64)["coord"][0]
    inputs = Inputs(grad=before.grad, step=torch.arange(60, dtype=torch.float64)[:, None])
    delta, _ = rule.sequence(phi, inputs, {"coord": state})
    made = replace(before, delta=delta, valid=torch.tensor([1]))  # the first moment is step 5
    assert mapping_curves(rule, phi, formula, made) == ()
    curve = mapping_curves(rule, phi, formula, replace(made, valid=torch.tensor([6])))[0]
    assert curve.states == 1
    at = float(rule.features(phi, before.grad)["m_tilde"][5, 0])
    grid = np.array(curve.x)
    assert grid.mean() == pytest.approx(at)  # one value has no spread: the grid is a point
    assert curve.network.middle[POINTS // 2] == pytest.approx(float(delta[5, 0]), rel=1e-6)


def test_a_formula_in_other_signals_than_the_network_moves_with_the_gradient() -> None:
    formula = SymbolicRule.from_formula("-0.01*q - 0.01*m_tilde")
    rule = RnnProp(projection=4, hidden=(5,))
    phi = rule.init_phi(generator(1, "test"), dtype=torch.float64)
    (curve,) = mapping_curves(rule, phi, formula, recorded(formula))
    assert curve.input == "g"
    assert "rms" in curve.unit


def test_a_rule_that_is_not_finite_everywhere_has_no_r2() -> None:
    formula = SymbolicRule.from_formula("-0.02*m_tilde")
    phi = {"w": torch.full((1,), torch.nan)}
    curve = mapping_curves(_Poisoned(output_scale=100.0), phi, formula, recorded(formula, runs=1))[0]
    assert np.isnan(curve.r2)
    assert curve.to_json()["r2"] is None


def test_states_are_few_however_many_were_recorded() -> None:
    rule = SymbolicRule.from_formula("-0.1*g")
    (curve,) = mapping_curves(rule, rule.init_phi(dtype=torch.float64), rule, recorded(rule, runs=8))
    assert curve.states == 4 * STATES


@pytest.mark.parametrize("name", ["scale", "adamw"])
def test_rules_that_read_more_than_their_gradient_are_refused(name: str) -> None:
    formula = SymbolicRule.from_formula("-0.1*g")
    with pytest.raises(UserError, match="own gradient alone"):
        mapping_curves(make(name, {}), {}, formula, recorded(formula))


def test_json_there_and_back() -> None:
    rule = SymbolicRule.from_formula("-0.1*g")
    (curve,) = mapping_curves(rule, rule.init_phi(dtype=torch.float64), rule, recorded(rule))
    told = json.loads(json.dumps(curve.to_json(), allow_nan=False))
    assert MappingCurve.from_json(told) == curve
    assert len(json.dumps(told)) < 10_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x", [1.0]),
        ("x", []),
        ("x", [None] * POINTS),
        ("x", "abc"),
        ("network", {"low": [1.0]}),
        ("states", -1),
        ("r2", "1"),
        ("unit", None),
        ("r2", 10**400),
    ],
)
def test_hostile_json(field: str, value: object) -> None:
    rule = SymbolicRule.from_formula("-0.1*g")
    (curve,) = mapping_curves(rule, rule.init_phi(dtype=torch.float64), rule, recorded(rule))
    with pytest.raises(UserError):
        MappingCurve.from_json({**curve.to_json(), field: value})
