"""The fused window of the small MLP against stepping through its update."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules import small_mlp_unroll
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.small_mlp import SmallMlp
from rayl2o.seeds import generator
from tests.rules.law_rows_mlp import Trained

LAYOUT = Layout(("w", "b", "s"), ((3, 5), (6,), ()), ("weight", "bias", "scalar"), (0, 0, 1))
U, K = 5, 3
LEARNED, FIXED = Trained(exp_mult=0.1, step_mult=0.1), Trained(exp_mult=0.1, step_mult=0.1, learn_decays=False)
Way = Callable[[Phi, Inputs, State], tuple[Tensor, State]]

each_rule = pytest.mark.parametrize("rule", [LEARNED, FIXED], ids=["learned", "fixed"])
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _problem(rule: SmallMlp, dtype: torch.dtype, own_steps: bool = False) -> tuple[Phi, Inputs, State]:
    """A window that starts in the middle of a trajectory."""
    draw = generator("mlp unroll")
    phi = rule.init_phi(draw, dtype)
    grads, params = torch.randn(2, U + 3, K, LAYOUT.size, generator=draw, dtype=torch.float64).to(dtype) * 0.3
    steps = torch.arange(U + 3)[:, None, None]
    if own_steps:
        steps = steps + torch.tensor([0, 4, 20])[:, None]
    state = rule.init_state(phi, LAYOUT, K, dtype)
    with torch.no_grad():
        _, state = step_through(rule, phi, Inputs(grads[:3], steps[:3], params[:3], layout=LAYOUT), state)
    return phi, Inputs(grads[3:], steps[3:], params[3:], layout=LAYOUT), state


def _results(way: Way, phi: Phi, inputs: Inputs, state: State) -> list[Tensor]:
    """Deltas, last state and the gradient of phi."""
    leaves = {name: w.clone().requires_grad_() for name, w in phi.items()}
    upstream = torch.randn(inputs.grad.shape, generator=generator("upstream"), dtype=torch.float64).to(inputs.grad)
    deltas, last = way(leaves, inputs, state)
    grads = torch.autograd.grad((deltas * upstream).sum(), list(leaves.values()))
    return [deltas.detach(), *(value.detach() for value in last.values()), *grads]


def _stepped(rule: SmallMlp) -> Way:
    return lambda phi, inputs, state: step_through(rule, phi, inputs, state)


@each_rule
@each_dtype
@pytest.mark.parametrize("own_steps", [False, True], ids=["one step", "own steps"])
def test_it_is_autograd_through_the_steps(rule: SmallMlp, dtype: torch.dtype, own_steps: bool) -> None:
    problem = _problem(rule, dtype, own_steps)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    for fused, stepped in zip(_results(rule.sequence, *problem), _results(_stepped(rule), *problem), strict=True):
        assert fused.dtype == dtype
        scale = max(1.0, float(stepped.abs().max()))
        torch.testing.assert_close(fused, stepped, rtol=tolerance, atol=tolerance * scale)


@each_rule
@pytest.mark.parametrize("room", [0, 3 * 28 * K * LAYOUT.size * 8], ids=["none kept", "three kept"])
def test_what_is_kept_changes_nothing(rule: SmallMlp, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _problem(rule, torch.float64)
    expected = _results(rule.sequence, *problem)
    normalise = Mock(wraps=small_mlp_unroll._normalise)
    monkeypatch.setattr(small_mlp_unroll, "_normalise", normalise)
    monkeypatch.setattr(small_mlp_unroll.unroll_small, "__defaults__", (room,))
    found = _results(rule.sequence, *problem)
    again = {0: U, 3 * 28 * K * LAYOUT.size * 8: U - 3}[room]
    assert normalise.call_count == (U + again) * LAYOUT.tensors
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@each_rule
def test_last_state_and_backward_have_no_graph(rule: SmallMlp) -> None:
    phi, inputs, state = _problem(rule, torch.float64)
    leaves = {name: w.requires_grad_() for name, w in phi.items()}
    deltas, last = rule.sequence(leaves, inputs, state)
    assert deltas.grad_fn is not None
    assert not any(value.requires_grad for value in last.values())
    once, again = (torch.autograd.grad(deltas.sum(), list(leaves.values()), retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("wanted", ["grad", "params", "coord", "global"])
def test_other_gradients_come_from_stepping_through(wanted: str) -> None:
    phi, inputs, state = _problem(LEARNED, torch.float64)
    leaf = {"grad": inputs.grad, "params": inputs.params, **state}[wanted]
    assert leaf is not None
    leaf.requires_grad_()
    leaves = [leaf, *(w.requires_grad_() for w in phi.values())]
    found, expected = (
        torch.autograd.grad(way(phi, inputs, state)[0].square().sum(), leaves)
        for way in (LEARNED.sequence, _stepped(LEARNED))
    )
    assert float(found[0].abs().max()) > 0.0
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@each_rule
def test_gradcheck(rule: SmallMlp) -> None:
    phi, inputs, state = _problem(rule, torch.float64)
    leaves = [w.requires_grad_() for w in phi.values()]

    def deltas(*weights: Tensor) -> Tensor:
        return rule.sequence(dict(zip(phi, weights, strict=True)), inputs, state)[0]

    assert torch.autograd.gradcheck(deltas, leaves, fast_mode=True)
