"""Rules with decoupled weight decay: AdamW against ``torch.optim``, LionW against its paper, and the laws that need params."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, State
from rayl2o.rules.classic import Adam, Classic
from rayl2o.rules.decoupled import AdamW, LionW
from rayl2o.rules.lion import Lion
from rayl2o.seeds import generator
from tests.rules import noisy_bowl as bowl

each_kind = pytest.mark.parametrize("kind", [AdamW, LionW], ids=lambda kind: kind.kind)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@pytest.mark.parametrize(
    ("lr", "beta1", "beta2", "eps", "weight_decay"),
    [(1e-3, 0.9, 0.999, 1e-8, 1e-2), (0.1, 0.5, 0.9, 1e-3, 0.5), (0.01, 0.0, 0.99, 1e-6, 0.0)],
)
@each_dtype
def test_adamw_is_torch_optim_at_every_step(
    lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, dtype: torch.dtype
) -> None:
    params = bowl.leaf(dtype)
    twin = torch.optim.AdamW([params], lr, (beta1, beta2), eps, weight_decay)
    found = bowl.path(AdamW(lr, beta1, beta2, eps, weight_decay), bowl.start(1, dtype))[:, 0]
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found, bowl.twin_path(twin, params), rtol=tolerance, atol=tolerance)


def test_adamw_has_the_defaults_of_torch_optim() -> None:
    theirs = torch.optim.AdamW([torch.zeros(1, requires_grad=True)]).defaults
    theirs["beta1"], theirs["beta2"] = theirs["betas"]
    assert vars(AdamW()) == {name: theirs[name] for name in vars(AdamW())}


def test_lionw_is_its_paper_at_every_step() -> None:
    lr, beta1, beta2, decay = 0.02, 0.8, 0.95, 0.3
    found = bowl.path(LionW(lr, beta1, beta2, decay), bowl.start(1))[:, 0]
    theta, m = bowl.start(1)[0].tolist(), [0.0] * bowl.D
    for t in range(bowl.STEPS):  # Chen et al. 2023, Algorithm 2, in plain numbers
        g = bowl.gradient(torch.tensor(theta, dtype=torch.float64), t).tolist()
        for d in range(bowl.D):
            c = beta1 * m[d] + (1.0 - beta1) * g[d]
            theta[d] -= lr * (((c > 0.0) - (c < 0.0)) + decay * theta[d])
            m[d] = beta2 * m[d] + (1.0 - beta2) * g[d]
        torch.testing.assert_close(found[t], torch.tensor(theta, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("decayed", "plain"), [(AdamW(0.1, weight_decay=0.0), Adam(0.1)), (LionW(0.1, weight_decay=0.0), Lion(0.1))]
)
def test_without_decay_it_is_the_plain_rule(decayed: Classic, plain: Classic) -> None:
    torch.testing.assert_close(bowl.path(decayed, bowl.start(2)), bowl.path(plain, bowl.start(2)))


@each_kind
@each_dtype
def test_a_sweep_is_its_settings_side_by_side(kind: type[AdamW | LionW], dtype: torch.dtype) -> None:
    settings = {"lr": (0.1, 0.01, 1e-3), "beta1": (0.9, 0.0, 0.5), "weight_decay": (0.0, 0.5, 1e-2)}
    bowl.assert_a_sweep_is_its_settings_side_by_side(kind, settings, dtype)


def _window(kind: type[AdamW | LionW], dtype: torch.dtype) -> tuple[Classic, Inputs, State]:
    """A rule on five steps of 40 coordinates, with a state that has seen one gradient."""
    rule, draw = kind(lr=0.1), generator("window")
    grads = torch.randn(6, 40, generator=draw, dtype=torch.float64).to(dtype)
    params = torch.randn(6, 40, generator=draw, dtype=torch.float64).to(dtype)
    state = rule.init_state({}, Layout.flat(40), 1, dtype)
    _, state = rule.update({}, Inputs(grads[:1], torch.tensor(0), params[:1]), state)
    steps = torch.arange(1, 6)[:, None] + torch.arange(40) % 7
    return rule, Inputs(grads[1:], steps, params[1:]), {"coord": state["coord"][0]}


@each_kind
@each_dtype
def test_sequence_equals_stepping_through(kind: type[AdamW | LionW], dtype: torch.dtype) -> None:
    rule, window, state = _window(kind, dtype)
    assert window.params is not None
    found, last = rule.sequence({}, window, state)
    for t in range(5):
        delta, state = rule.update({}, Inputs(window.grad[t], window.step[t], window.params[t]), state)
        torch.testing.assert_close(found[t], delta, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=1e-15)
    assert torch.equal(last["coord"], state["coord"])


@each_kind
def test_it_treats_coordinates_alone_and_has_finite_derivatives_at_zero(kind: type[AdamW | LionW]) -> None:
    rule, window, state = _window(kind, torch.float64)
    assert (rule.needs, rule.coordinatewise) == (frozenset({"params"}), True)
    assert window.params is not None
    grad, params = torch.zeros(40, dtype=torch.float64, requires_grad=True), window.params[0].requires_grad_()
    delta, _ = rule.update({}, Inputs(grad, torch.tensor(1), params), {"coord": torch.zeros_like(state["coord"])})
    torch.testing.assert_close(delta, -0.1 * 0.01 * params)
    derivatives = torch.autograd.grad(delta.sum(), [grad, params])
    assert all(torch.isfinite(derivative).all() for derivative in derivatives)
    order = torch.randperm(40, generator=generator("order"))
    moved, _ = rule.update(
        {}, Inputs(window.grad[0, order], torch.tensor(1), params[order]), {"coord": state["coord"][order]}
    )
    still, _ = rule.update({}, Inputs(window.grad[0], torch.tensor(1), params), state)
    torch.testing.assert_close(moved, still[order], rtol=1e-12, atol=1e-15)


@each_kind
def test_a_compiled_update_gives_the_same_numbers(kind: type[AdamW | LionW]) -> None:
    rule, window, state = _window(kind, torch.float64)
    assert window.params is not None

    def step(g: Tensor, t: Tensor, params: Tensor, coord: Tensor) -> tuple[Tensor, Tensor]:
        delta, new = rule.update({}, Inputs(g, t, params), {"coord": coord})
        return delta, new["coord"]

    torch.compiler.reset()
    arguments = (window.grad[0], torch.tensor(3), window.params[0], state["coord"])
    with torch.no_grad():
        found = torch.compile(step, backend="aot_eager", fullgraph=True)(*arguments)
        torch.testing.assert_close(found, step(*arguments), rtol=1e-12, atol=1e-15)


@each_kind
def test_missing_params_are_named(kind: type[AdamW | LionW]) -> None:
    rule, window, state = _window(kind, torch.float64)
    with pytest.raises(ValueError, match=r"needs Inputs\.params"):
        rule.sequence({}, Inputs(window.grad, window.step), state)


@each_kind
@pytest.mark.parametrize("value", [-0.1, math.inf])
def test_an_impossible_decay_is_refused(kind: type[AdamW | LionW], value: float) -> None:
    with pytest.raises(UserError, match=f"{kind.kind}: weight_decay out of range"):
        kind(weight_decay=value)
