"""L2O-Scale: the authors' equations one tensor at a time, its start, its derivatives. Its laws are in ``test_whole_laws.py``."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Inputs, Phi, Rule, State
from rayl2o.rules.scale import Scale
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket
from tests.rules.law_rows_scale import ROWS, Trained

LAYOUT = Layout(
    ("a.w", "a.b", "b.w", "s"), ((3, 4), (4,), (4, 2), ()), ("weight", "bias", "weight", "scalar"), (0, 0, 1, 1)
)
K, D, T = 3, LAYOUT.size, LAYOUT.tensors
SMALL = Trained(hidden=(3, 4, 5), scales=3)

each_rule = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _grads(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Gradients over eight orders of magnitude."""
    draw = generator("scale", *shape)
    sizes = 10.0 ** torch.empty(shape, dtype=torch.float64).uniform_(-7.0, 1.0, generator=draw)
    return (sizes * torch.randn(shape, dtype=torch.float64, generator=draw)).to(dtype)


def _at(grad: Tensor, step: int | Tensor, layout: Layout = LAYOUT) -> Inputs:
    return Inputs(grad=grad, step=torch.as_tensor(step), layout=layout)


def _start(rule: Rule, dtype: torch.dtype = torch.float64, layout: Layout = LAYOUT, k: int = K) -> tuple[Phi, State]:
    phi = rule.init_phi(generator("phi"), dtype)
    return phi, rule.init_state(phi, layout, k, dtype)


def _used(rule: Rule, dtype: torch.dtype = torch.float64) -> tuple[Phi, State]:
    """A rule whose state has seen three gradients."""
    phi, state = _start(rule, dtype)
    with torch.no_grad():
        for t, grad in enumerate(_grads(3, K, D, dtype=dtype)):
            _, state = rule.update(phi, _at(grad, t), state)
    return phi, state


def _assert_close(found: State, expected: State, tolerance: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance)


class _ByHand:
    """The authors' code, one tensor of one instance at a time, a row per coordinate; but for the mean over all tensors."""

    def __init__(self, rule: Scale, phi: Phi, first_log_lr: Tensor) -> None:
        self.phi, self.scales = phi, rule.scales
        self.h_global = phi["global.h0"][None]
        self.tensors: list[dict[str, Any]] = []
        for log_lr in torch.split(first_log_lr, list(LAYOUT.sizes)):
            zeros = torch.zeros(len(log_lr), 1, dtype=torch.float64)
            accumulators = [zeros for _ in range(self.scales)]
            self.tensors.append(
                {"h": phi["coord.h0"].expand(len(log_lr), -1), "layer": phi["tensor.h0"][None], "lr": log_lr[:, None]}
                | {"inp": zeros, "scl": zeros, "grad": accumulators, "ms": accumulators}
            )

    def _gru(self, level: str, x: Tensor, h: Tensor, bias: Tensor) -> Tensor:
        r_bias, u_bias, c_bias = bias.chunk(3, 1)
        gates = torch.cat((x, h), 1) @ self.phi[f"{level}.w_gates"] + self.phi[f"{level}.b_gates"]
        r_lin, u_lin = gates.chunk(2, 1)
        r, u = torch.sigmoid(r_lin + r_bias), torch.sigmoid(u_lin + u_bias)
        c = torch.cat((x, r * h), 1) @ self.phi[f"{level}.w_candidate"] + self.phi[f"{level}.b_candidate"]
        return u * h + (1 - u) * torch.tanh(c + c_bias)

    def _affine(self, name: str, x: Tensor) -> Tensor:
        return x @ self.phi[f"{name}.w"] + self.phi[f"{name}.b"]

    def _project(self, name: str, h: Tensor) -> Tensor:
        return h @ self.phi[f"{name}.w"][:, None] + self.phi[f"{name}.b"]

    def step(self, grad: Tensor) -> Tensor:
        """``delta [D]``."""
        mean_log_lr = torch.cat([s["lr"] for s in self.tensors]).mean()
        deltas, layers = [], []
        for state, part in zip(self.tensors, torch.split(grad, list(LAYOUT.sizes)), strict=True):
            deltas.append(self._tensor(state, part[:, None], mean_log_lr))
            layers.append(state["layer"])
        seen = torch.cat(layers).mean(0, keepdim=True)
        self.h_global = self._gru("global", seen, self.h_global, torch.zeros(1, 3, dtype=torch.float64))
        return torch.cat(deltas)[:, 0]

    def _tensor(self, state: dict[str, Any], grad: Tensor, mean_log_lr: Tensor) -> Tensor:
        decays = [state["inp"] ** (0.5**i) for i in range(self.scales)]
        state["grad"] = [grad * (1 - d) + old * d for d, old in zip(decays, state["grad"], strict=True)]
        first = all(bool((ms == 0).all()) for ms in state["ms"])
        decay = torch.zeros_like(state["scl"]) if first else state["scl"]
        state["ms"] = [
            (1 - decay) * (g**2 + 1e-12) + decay * ms for g, ms in zip(state["grad"], state["ms"], strict=True)
        ]
        scaled = [torch.asinh(g / torch.sqrt(ms + 1e-16)) for g, ms in zip(state["grad"], state["ms"], strict=True)]
        logs = [torch.log(ms + 1e-16) for ms in state["ms"]]
        average = torch.stack(logs).mean(0)
        products = [a * b for a, b in pairwise(scaled)]
        x = torch.cat([*scaled, *products, *[log - average for log in logs], state["lr"] - mean_log_lr], 1)
        bias = self._affine("tensor_to_coord", state["layer"]) + self._affine("global_to_coord", self.h_global)
        state["h"] = self._gru("coord", x, state["h"], bias)
        seen = torch.cat((state["h"], x), 1).mean(0, keepdim=True)
        state["layer"] = self._gru("tensor", seen, state["layer"], self._affine("global_to_tensor", self.h_global))
        direction: Tensor = state["h"] @ self.phi["direction.w"][:, None]
        direction = direction + torch.cat(scaled, 1) @ self.phi["direction.shortcut"][:, None]
        direction = direction / torch.sqrt((direction**2).mean() + 1e-16)
        state["scl"] = torch.sigmoid(self._project("scale_decay", state["h"]))
        state["inp"] = torch.sigmoid(self._project("input_decay", state["h"]))
        step_log_lr = (state["lr"] + self._project("log_lr", state["h"])).clamp(-33, 33)
        momentum = torch.sigmoid(self.phi["log_lr.momentum"])
        state["lr"] = momentum * state["lr"] + (1 - momentum) * step_log_lr
        return -torch.exp(step_log_lr + self.phi["log_lr.offset"]) * direction


@pytest.mark.parametrize("rule", [SMALL, Trained()], ids=["small", "default"])
def test_every_instance_is_the_authors_equations(rule: Scale) -> None:
    phi, state = _start(rule)
    h = rule.hidden[0]
    references = [_ByHand(rule, phi, row[:, h + 2]) for row in state["coord"]]
    with torch.no_grad():
        for t, grad in enumerate(_grads(5, K, D)):
            delta, state = rule.update(phi, _at(grad, t), state)
            expected = torch.stack([by_hand.step(g) for by_hand, g in zip(references, grad, strict=True)])
            torch.testing.assert_close(delta, expected, rtol=1e-10, atol=1e-12)
    for k, by_hand in enumerate(references):
        columns = [torch.cat([s["h"], s["inp"], s["scl"], s["lr"], *s["grad"], *s["ms"]], 1) for s in by_hand.tensors]
        torch.testing.assert_close(state["coord"][k], torch.cat(columns), rtol=1e-10, atol=1e-12)
        layers = torch.cat([s["layer"] for s in by_hand.tensors])
        torch.testing.assert_close(state["tensor"][k], layers, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(state["global"][k], by_hand.h_global[0], rtol=1e-10, atol=1e-12)


def test_the_sizes_and_the_start_are_the_authors() -> None:
    rule = Scale()
    phi = rule.init_phi(generator("phi"))
    assert sum(weight.numel() for weight in phi.values()) == 8_349
    assert (rule.state_size, rule.tensor_state_size, rule.global_state_size) == (21, 20, 20)
    assert not phi["log_lr.w"].any()
    assert [float(phi[f"{name}_decay.b"]) for name in ("scale", "input")] == pytest.approx([3.2, 2.2])
    assert [float(phi[f"log_lr.{name}"]) for name in ("momentum", "offset")] == pytest.approx([3.2, -1.0])
    for level in rule.levels:
        assert (phi[f"{level.name}.b_gates"] == 2.2).all()
        assert 0.5 < float(phi[f"{level.name}.h0"].abs().max()) <= 1.0


def test_matrices_start_with_half_over_the_root_of_their_inputs() -> None:
    rule = Scale(hidden=(200, 200, 200))
    phi = rule.init_phi(generator("phi"))
    wide = [name for name, weight in phi.items() if weight.ndim == 2]
    assert len(wide) == 9
    for name in wide:
        assert float(phi[name].std()) * math.sqrt(len(phi[name])) == pytest.approx(0.5, rel=0.05)
    assert float(phi["direction.w"].std()) * math.sqrt(200) == pytest.approx(0.5, rel=0.2)
    shortcut = Scale(scales=1_000).init_phi(generator("phi"))["direction.shortcut"]
    assert float(shortcut.mean()) == pytest.approx(1e-3, abs=4e-4)
    assert float(shortcut.std()) * math.sqrt(1_000) == pytest.approx(0.1, rel=0.1)


def test_the_first_learning_rates_fill_their_range() -> None:
    layout = Layout(tuple(f"t{i}" for i in range(50)), ((40,),) * 50, ("weight",) * 50, (0,) * 50)
    rule = Scale(min_lr=1e-6, max_lr=1e-2)
    _, state = _start(rule, layout=layout)
    log_lr = state["coord"][0, :, rule.hidden[0] + 2] / math.log(10.0)
    per_tensor = log_lr.view(50, 40)
    assert -6.0 <= float(log_lr.min()) < -5.9
    assert -2.1 < float(log_lr.max()) <= -2.0
    spread = per_tensor.max(1).values - per_tensor.min(1).values
    assert float(spread.min()) > 1.8  # half the range within each tensor
    offsets = per_tensor.mean(1)
    assert float(offsets.max() - offsets.min()) > 1.8  # and half between them
    _, one = _start(Scale(min_lr=1e-3, max_lr=1e-3))
    assert torch.allclose(one["coord"][..., 12], torch.tensor(math.log(1e-3), dtype=torch.float64))


def test_a_fresh_rule_keeps_its_learning_rates_and_moves_by_them() -> None:
    rule = Scale(min_lr=1e-2, max_lr=1e-2)
    phi, state = _start(rule)
    first = state["coord"][..., 12].clone()
    for t, grad in enumerate(_grads(4, K, D)):
        delta, state = rule.update(phi, _at(grad, t), state)
        torch.testing.assert_close(state["coord"][..., 12], first, rtol=1e-14, atol=1e-14)
        for part in torch.split(delta, list(LAYOUT.sizes), 1):
            rms = torch.sqrt((part * part).mean(1))
            torch.testing.assert_close(rms, torch.full_like(rms, 1e-2 / math.e))


@pytest.mark.parametrize("seed", range(5))
def test_a_fresh_rule_goes_downhill(seed: int) -> None:
    rule = Scale(min_lr=1e-2, max_lr=1e-2)
    phi = rule.init_phi(generator("downhill", seed))
    state = rule.init_state(phi, LAYOUT, K)
    curvature = torch.logspace(-2.0, 2.0, D)
    x = 1.0 + torch.rand(K, D, generator=generator("x", seed))
    losses = []
    for t in range(200):
        losses.append((curvature * x * x).sum(1))
        delta, state = rule.update(phi, _at(2.0 * curvature * x, t), state)
        x = x + delta
    assert (losses[-1] < 0.5 * losses[0]).all()
    assert (losses[20] < losses[0]).all()


def test_beyond_its_range_the_log_learning_rate_is_clamped_but_differentiated() -> None:
    rule = Trained(hidden=(3, 4, 5), scales=2, min_lr=1.0, max_lr=1.0, max_log_lr=1.0)
    phi, state = _start(rule)
    phi = phi | {"log_lr.b": torch.tensor([50.0], dtype=torch.float64, requires_grad=True)}
    delta, new = rule.update(phi, _at(_grads(K, D), 0), state)
    rms = torch.sqrt((delta[:, :12] ** 2).mean(1))
    torch.testing.assert_close(rms, torch.exp(1.0 + phi["log_lr.offset"]).expand(K))
    torch.testing.assert_close(
        new["coord"][..., 5], (1.0 - torch.sigmoid(phi["log_lr.momentum"])).expand(K, D), rtol=1e-12, atol=1e-12
    )
    (slope,) = torch.autograd.grad(delta[0, 0], [phi["log_lr.b"]])
    torch.testing.assert_close(slope, delta[0, :1].detach())  # d exp(y) = exp(y) dy


@each_rule
@each_dtype
def test_shapes_and_dtypes_are_kept(name: str, dtype: torch.dtype) -> None:
    rule = ROWS[name]
    assert isinstance(rule, Scale)
    phi, state = _start(rule, dtype)
    shapes = {"coord": (K, D, rule.state_size), "tensor": (K, T, rule.hidden[1]), "global": (K, rule.hidden[2])}
    with torch.no_grad():
        delta, new = rule.update(phi, _at(_grads(K, D, dtype=dtype), torch.tensor(0.0, dtype=dtype)), state)
    assert {weight.dtype for weight in phi.values()} == {dtype}
    for values in (state, new):
        assert {key: tuple(value.shape) for key, value in values.items()} == shapes
        assert {value.dtype for value in values.values()} == {dtype}
    assert (delta.shape, delta.dtype) == ((K, D), dtype)
    assert torch.isfinite(delta).all()


def test_permuting_coordinates_of_a_tensor_permutes_the_update() -> None:
    phi, state = _used(SMALL)
    grad, draw = _grads(K, D), generator("order")
    order = torch.cat(
        [start + torch.randperm(n, generator=draw) for start, n in zip(LAYOUT.offsets, LAYOUT.sizes, strict=True)]
    )
    assert not torch.equal(order, torch.arange(D))
    with torch.no_grad():
        delta, new = SMALL.update(phi, _at(grad, 3), state)
        moved, moved_state = SMALL.update(phi, _at(grad[:, order], 3), state | {"coord": state["coord"][:, order]})
    torch.testing.assert_close(moved, delta[:, order], rtol=1e-12, atol=1e-14)
    _assert_close(moved_state, new | {"coord": new["coord"][:, order]})


def test_permuting_tensors_permutes_the_update() -> None:
    phi, state = _used(SMALL)
    grad, tensors = _grads(K, D), [2, 0, 3, 1]
    fields = (LAYOUT.names, LAYOUT.shapes, LAYOUT.kinds, LAYOUT.depths)
    names, shapes, kinds, depths = (cast(Any, tuple(field[t] for t in tensors)) for field in fields)
    layout = Layout(names, shapes, kinds, depths)
    order = torch.cat([torch.arange(LAYOUT.offsets[t], LAYOUT.offsets[t] + LAYOUT.sizes[t]) for t in tensors])
    moved_state = state | {"coord": state["coord"][:, order], "tensor": state["tensor"][:, tensors]}
    with torch.no_grad():
        delta, new = SMALL.update(phi, _at(grad, 3), state)
        moved, moved_new = SMALL.update(phi, _at(grad[:, order], 3, layout), moved_state)
    torch.testing.assert_close(moved, delta[:, order], rtol=1e-12, atol=1e-14)
    _assert_close(moved_new, new | {"coord": new["coord"][:, order], "tensor": new["tensor"][:, tensors]})


def test_derivatives_are_finite_differences() -> None:
    rule = Trained(hidden=(2, 3, 2), scales=2)
    layout = Layout(("w", "b"), ((2,), (2,)), ("weight", "bias"), (0, 0))
    phi, state = _start(rule, layout=layout, k=2)
    grads = torch.randn(3, 2, 4, generator=generator("smooth"), dtype=torch.float64)
    with torch.no_grad():
        _, state = rule.update(phi, _at(grads[0], 0, layout), state)  # at step 0 the decays of 0 have no slope

    def run(*leaves: Tensor) -> tuple[Tensor, ...]:
        weights, now = dict(zip(phi, leaves[4:], strict=True)), dict(zip(state, leaves[1:4], strict=True))
        deltas = []
        for t, grad in enumerate(leaves[0], start=1):
            delta, now = rule.update(weights, _at(grad, t, layout), now)
            deltas.append(1e3 * delta)
        return (torch.stack(deltas), *now.values())

    leaves = [value.detach().clone().requires_grad_() for value in (grads[1:], *state.values(), *phi.values())]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True, rtol=1e-4)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True, rtol=1e-3)


def test_the_learned_first_states_have_the_gradient_of_finite_differences() -> None:
    phi, state = _start(SMALL)
    grads = torch.randn(3, K, D, generator=generator("smooth"), dtype=torch.float64)
    names = [name for name in phi if name.endswith("h0")]

    def run(*first: Tensor) -> Tensor:
        weights, now, total = phi | dict(zip(names, first, strict=True)), state, torch.zeros(())
        for t, grad in enumerate(grads):
            delta, now = SMALL.update(weights, _at(grad, t), now)
            total = total + (1e3 * delta).square().sum()
        return total

    leaves = [phi[name].clone().requires_grad_() for name in names]
    assert all(slope.abs().max() > 1e-6 for slope in torch.autograd.grad(run(*leaves), leaves))
    assert torch.autograd.gradcheck(run, leaves, rtol=1e-4)


@pytest.mark.parametrize("credit", ["exact", "first_order"])
def test_the_gradient_of_a_segment_is_that_of_back_propagation(credit: str) -> None:
    """Over a fresh window, in which the first states have a gradient, and over a carried one, in which they have none."""
    rule = Trained(hidden=(3, 4, 5), min_lr=1e-3, max_lr=1e-1)
    phi = rule.init_phi(generator("phi"), torch.float64)
    family = task("mlp", data="digits", hidden=(3,), init_std=0.3)
    ticket = Ticket("t", 0, 0, 0, tuple(family.sample(generator(k)) for k in range(2)), 100)
    config, slot = UnrollConfig(steps=4, dtype="float64", credit=credit), None
    for window in range(2):
        expected, _ = bptt(rule, config, ticket, slot, phi, second_order=credit == "exact")
        segment, slot = rollout(rule, config, ticket, slot, phi)
        found, _ = meta_gradient(rule, phi, [segment])
        for name, wanted in expected.items():
            torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-10 * float(wanted.abs().max()))
            assert bool(wanted.any()) is (window == 0 or not name.endswith("h0"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": (10, 20)}, "three positive widths"),
        ({"hidden": (10, 0, 20)}, "three positive widths"),
        ({"scales": 1}, "two time scales"),
        ({"min_lr": 1e-2, "max_lr": 1e-3}, "out of order"),
        ({"min_lr": 0.0}, "out of order"),
        ({"max_log_lr": -40.0}, "out of range"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scale(**settings)
