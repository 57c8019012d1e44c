"""The GRU optimizer: its equation, its start, and the gradient of its learned initial state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Inputs, Phi
from rayl2o.rules.gru import Gru
from rayl2o.rules.gru_cell import GruCell
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

FAMILY = task("mlp", data="digits", hidden=(3,), init_std=0.3)
TICKET = Ticket("t", 0, 0, 0, tuple(FAMILY.sample(generator(k)) for k in range(2)), 100)
CONFIG = UnrollConfig(steps=6, dtype="float64", step_weights=(1.0, 0.5, 0.0, 2.0, 1.0, 1.0))


def _trained(rule: Gru, dtype: torch.dtype = torch.float64) -> Phi:
    """Weights none of which is 0: the zero readout of a fresh rule would hide all else."""
    phi = rule.init_phi(generator("gru"), dtype)
    draw = generator("moved")
    return {name: w + 0.3 * torch.randn(w.shape, generator=draw, dtype=dtype) for name, w in phi.items()}


def _by_hand(phi: Phi, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """One coordinate: the equations of renn's cell, where r * h enters the matrix of the candidate."""
    n = len(h)
    r, u = torch.sigmoid(torch.cat((x, h)) @ phi["gru.w_gates"] + phi["gru.b_gates"]).view(2, n)
    c = torch.tanh(torch.cat((x, r * h)) @ phi["gru.w_candidate"] + phi["gru.b_candidate"])
    new = u * h + (1.0 - u) * c
    return (new @ phi["linear.w"] + phi["linear.b"]).squeeze(), new


@pytest.mark.parametrize("settings", [{"input_scale": 3.0}, {"inputs": "log1p"}], ids=str)
def test_an_update_is_the_cell_of_the_paper(settings: dict[str, Any]) -> None:
    rule = Gru(hidden=4, output_scale=0.1, **settings)
    phi = _trained(rule)
    state = rule.init_state(phi, Layout.flat(3), 1, torch.float64)
    expected = [phi["gru.h0"]] * 3
    for t, grad in enumerate(torch.randn(5, 1, 3, generator=generator("g"), dtype=torch.float64)):
        delta, state = rule.update(phi, Inputs(grad, torch.tensor(t)), state)
        for d, g in enumerate(grad[0]):
            x = torch.stack((torch.log1p(g.abs()), g.sign())) if rule.inputs == "log1p" else 3.0 * g.unsqueeze(0)
            y, expected[d] = _by_hand(phi, x, expected[d])
            torch.testing.assert_close(delta[0, d], 0.1 * y, rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(state["coord"][0, d], expected[d], rtol=1e-12, atol=1e-14)


def test_a_fresh_rule_stands_still() -> None:
    rule = Gru()
    phi = rule.init_phi(generator("gru"))
    assert sum(weight.numel() for weight in phi.values()) == 12_801
    assert rule.state_size == 64
    state = rule.init_state(phi, Layout.flat(10), 2)
    assert not state["coord"].any()
    delta, state = rule.update(phi, Inputs(torch.ones(2, 10), torch.tensor(0)), state)
    assert not delta.any()
    assert state["coord"].abs().min() > 0


def test_all_matrices_start_with_variance_1_over_h() -> None:
    phi = GruCell(1, 400).init(generator("gru"))
    for name in ("gru.w_gates", "gru.w_candidate"):
        assert 0.9 < float(phi[name][0].std()) * 20 < 1.1  # the input's row
        assert 0.99 < float(phi[name].std()) * 20 < 1.01
    assert all(not phi[name].any() for name in phi if not name.startswith("gru.w"))


def test_float32_draws_the_same_weights() -> None:
    single, double = (Gru(hidden=5).init_phi(generator("gru"), dtype) for dtype in (torch.float32, torch.float64))
    assert all(torch.equal(single[name].double(), double[name]) for name in double)


def test_the_first_step_starts_from_the_newest_phi() -> None:
    """A segment's stored state is of the phi that acted; the learner's phi may be newer."""
    rule = Gru(hidden=4)
    phi = _trained(rule)
    old = rule.init_state({**phi, "gru.h0": torch.zeros_like(phi["gru.h0"])}, Layout.flat(6), 1, torch.float64)
    own = rule.init_state(phi, Layout.flat(6), 1, torch.float64)
    assert torch.equal(own["coord"], phi["gru.h0"].expand(1, 6, 4))
    grad = torch.randn(1, 6, generator=generator("g"), dtype=torch.float64)
    for step, same in ((0, True), (1, False)):
        one, other = (rule.update(phi, Inputs(grad, torch.tensor(step)), state)[0] for state in (old, own))
        assert torch.equal(one, other) is same


@pytest.mark.parametrize("credit", ["exact", "first_order"])
@pytest.mark.parametrize("inputs", ["linear", "log1p"])
def test_the_fused_gradient_is_that_of_back_propagation(credit: str, inputs: str) -> None:
    """Over a fresh window, in which h0 has a gradient, and over a carried one, in which it has none."""
    rule = Gru(hidden=5, inputs=inputs, output_scale=0.03)
    phi = _trained(rule)
    config, slot = replace(CONFIG, credit=credit), None
    for window in range(2):
        expected, _ = bptt(rule, config, TICKET, slot, phi, second_order=credit == "exact")
        segment, slot = rollout(rule, config, TICKET, slot, phi)
        found, _ = meta_gradient(rule, phi, [segment])
        for name, wanted in expected.items():
            torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-10 * float(wanted.abs().max()))
        assert bool(expected["gru.h0"].abs().min() > 0) is (window == 0)
        assert bool(expected["gru.h0"].any()) is (window == 0)


def test_the_gradient_of_the_initial_state_is_the_slope_of_the_meta_loss() -> None:
    rule = Gru(hidden=5, output_scale=0.3)
    phi = _trained(rule)
    segment, _ = rollout(rule, replace(CONFIG, credit="exact"), TICKET, None, phi)
    grad = meta_gradient(rule, phi, [segment])[0]["gru.h0"]
    direction, step = torch.randn(5, generator=generator("d"), dtype=torch.float64), 1e-5
    ends = [
        float(bptt(rule, CONFIG, TICKET, None, {**phi, "gru.h0": phi["gru.h0"] + s * direction}, False)[1])
        for s in (step, -step)
    ]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(grad @ direction), rel=1e-6)


def test_windows_that_start_anywhere_are_stepped_through() -> None:
    rule = Gru(hidden=4)
    phi = {name: weight.requires_grad_() for name, weight in _trained(rule).items()}
    grad = torch.randn(4, 6, generator=generator("g"), dtype=torch.float64)
    state = {"coord": torch.ones(6, 4, dtype=torch.float64)}
    restarted, _ = rule.sequence(phi, Inputs(grad, torch.tensor([[5], [6], [0], [1]])), state)
    fresh, _ = rule.sequence(phi, Inputs(grad[2:], torch.tensor([[0], [1]])), state)
    torch.testing.assert_close(restarted[2:], fresh, rtol=1e-12, atol=1e-14)


def test_an_update_is_twice_differentiable() -> None:
    rule = Gru(hidden=3)
    phi = {name: weight.requires_grad_() for name, weight in _trained(rule).items()}

    def two_steps(grad: Tensor, *weights: Tensor) -> Tensor:
        named = dict(zip(phi, weights, strict=True))
        state = rule.init_state(named, Layout.flat(2), 1, torch.float64)
        delta, state = rule.update(named, Inputs(grad, torch.tensor(0)), state)
        return rule.update(named, Inputs(grad + delta, torch.tensor(1)), state)[0]

    grad = torch.randn(1, 2, generator=generator("g"), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(two_steps, (grad, *phi.values()))
    assert torch.autograd.gradgradcheck(two_steps, (grad, *phi.values()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "width must be positive"),
        ({"inputs": "raw"}, "input of rule 'gru'"),
        ({"input_scale": 0.0}, "input_scale out of range"),
        ({"output_scale": float("nan")}, "output_scale out of range"),
        ({"inputs": "log1p", "input_scale": 2.0}, "log1p takes no input_scale"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Gru(**settings)
