"""Every rule under the laws of :class:`rayl2o.rules.base.Rule`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, Rule, State, step_through
from rayl2o.rules.classic import Adagrad, Adam, Momentum, Nesterov, RmsProp, Sgd
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from tests.rules import law_rows_classic, law_rows_gru

RULES: Mapping[str, Rule] = {
    "sgd": Sgd(lr=0.1),
    "momentum": Momentum(lr=0.1),
    "nesterov": Nesterov(lr=0.1),
    "adagrad": Adagrad(),
    "adagrad, filled": Adagrad(lr_decay=0.1, initial_accumulator_value=0.1),
    "rmsprop": RmsProp(),
    "rmsprop, momentum": RmsProp(momentum=0.9),
    "adam": Adam(),
    "adam, betas 0": Adam(beta1=0.0, beta2=0.0),
    **{name: make(name, {}) for name in ("dm", "dm-small", "rnnprop", "rnnprop-small")},
    "dm, uneven": make("dm", {"hidden": [5, 3], "preprocess_k": 5.0}),
    "formula": make("symbolic", {"formula": "-0.01*m_tilde + 0.02*lag(g, 2) - 0.01*ema(g_tilde, 0.9)", "clamp": 0.02}),
    **law_rows_classic.ROWS,
    **law_rows_gru.ROWS,
}
WITH_PHI = [name for name, rule in RULES.items() if rule.init_phi(generator("any"))]
COMPILED = [
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "rmsprop, momentum",
    "adam",
    "dm, uneven",
    "rnnprop-small",
    "formula",
    *law_rows_classic.COMPILED,
    "gru",
    "rnnprop-extra",
]
K, D = 2, 700

each_rule = pytest.mark.parametrize("name", RULES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _grads(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Gradients over eight orders of magnitude."""
    draw = generator("laws", *shape)
    sizes = 10.0 ** torch.empty(shape, dtype=torch.float64).uniform_(-7.0, 1.0, generator=draw)
    return (sizes * torch.randn(shape, dtype=torch.float64, generator=draw)).to(dtype)


def _at(grad: Tensor, step: int) -> Inputs:
    return Inputs(grad=grad, step=torch.tensor(step))


def _start(name: str, k: int = K, d: int = D, dtype: torch.dtype = torch.float64) -> tuple[Rule, Phi, State]:
    rule = RULES[name]
    phi = rule.init_phi(generator("laws", name), dtype)
    return rule, phi, rule.init_state(phi, Layout.flat(d), k, dtype)


def _used(name: str, k: int = K, d: int = D, dtype: torch.dtype = torch.float64) -> tuple[Rule, Phi, State]:
    """A rule whose state has seen three gradients."""
    rule, phi, state = _start(name, k, d, dtype)
    with torch.no_grad():
        for t, grad in enumerate(_grads(3, k, d, dtype=dtype)):
            _, state = rule.update(phi, _at(grad, t), state)
    return rule, phi, state


@each_rule
@each_dtype
def test_shapes_and_dtypes_are_kept(name: str, dtype: torch.dtype) -> None:
    rule, phi, state = _start(name, dtype=dtype)
    assert state["coord"].shape == (K, D, rule.state_size)
    assert all(weight.dtype == dtype for weight in phi.values())
    with torch.no_grad():
        delta, new = rule.update(phi, _at(_grads(K, D, dtype=dtype), 0), state)
    assert (delta.shape, delta.dtype) == ((K, D), dtype)
    assert (new["coord"].shape, new["coord"].dtype) == ((K, D, rule.state_size), dtype)
    assert torch.isfinite(delta).all()


@each_rule
def test_update_is_pure(name: str) -> None:
    rule, phi, state = _used(name)
    grad, step = _grads(K, D), torch.tensor(3)
    everything = [grad, step, *phi.values(), *state.values()]
    before = [value.clone() for value in everything]
    with torch.no_grad():
        first, first_state = rule.update(phi, Inputs(grad, step), state)
        second, second_state = rule.update(phi, Inputs(grad, step), state)
    assert all(torch.equal(old, new) for old, new in zip(before, everything, strict=True))
    assert torch.equal(first, second)
    assert torch.equal(first_state["coord"], second_state["coord"])


@each_rule
@each_dtype
def test_the_graph_changes_nothing(name: str, dtype: torch.dtype) -> None:
    rule, phi, state = _used(name, dtype=dtype)
    grad = _grads(K, D, dtype=dtype)
    with torch.no_grad():
        plain, plain_state = rule.update(phi, _at(grad, 3), state)
    differentiated = {key: weight.clone().requires_grad_() for key, weight in phi.items()}
    delta, new = rule.update(differentiated, _at(grad.clone().requires_grad_(), 3), state)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    assert delta.requires_grad
    torch.testing.assert_close(delta.detach(), plain, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(new["coord"].detach(), plain_state["coord"], rtol=tolerance, atol=tolerance)


@each_rule
@each_dtype
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_a_zero_gradient_has_finite_derivatives(name: str, dtype: torch.dtype, used: bool) -> None:
    rule, phi, state = (_used if used else _start)(name, d=40, dtype=dtype)
    coord = state["coord"].clone()
    coord[:, :20] = rule.init_state(phi, Layout.flat(20), K, dtype)[
        "coord"
    ]  # dead so far, such as a pixel that is never lit
    grad = torch.zeros(K, 40, dtype=dtype, requires_grad=True)
    coord.requires_grad_()
    phi = {key: weight.requires_grad_() for key, weight in phi.items()}
    delta, new = rule.update(phi, _at(grad, 3 if used else 0), {"coord": coord})
    total = delta.sum() + (new["coord"] * torch.arange(1.0, rule.state_size + 1.0, dtype=dtype)).sum()
    derivatives = torch.autograd.grad(total, [grad, coord, *phi.values()], allow_unused=True)
    assert torch.isfinite(delta).all()
    assert torch.isfinite(new["coord"]).all()
    assert derivatives[0] is not None
    assert all(torch.isfinite(d).all() for d in derivatives if d is not None)


@each_rule
@each_dtype
def test_a_saved_state_goes_on_with_the_same_bits(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    rule, phi, state = _used(name, dtype=dtype)
    save_file({"coord": state["coord"].contiguous()}, tmp_path / "state.safetensors")
    loaded = load_file(tmp_path / "state.safetensors")
    assert torch.equal(loaded["coord"], state["coord"])
    grad = _grads(K, D, dtype=dtype)
    with torch.no_grad():
        delta, new = rule.update(phi, _at(grad, 3), state)
        resumed, resumed_state = rule.update(phi, _at(grad, 3), loaded)
    assert torch.equal(delta, resumed)
    assert torch.equal(new["coord"], resumed_state["coord"])


@each_rule
def test_coordinates_are_treated_alone(name: str) -> None:
    rule, phi, state = _used(name)
    assert rule.coordinatewise
    assert not rule.needs
    grad = _grads(K, D)
    order = torch.randperm(D, generator=generator("order"))
    with torch.no_grad():
        delta, new = rule.update(phi, _at(grad, 3), state)
        moved, moved_state = rule.update(phi, _at(grad[:, order], 3), {"coord": state["coord"][:, order]})
        few, _ = rule.update(phi, _at(grad[1, order[:5]], 3), {"coord": state["coord"][1, order[:5]]})
    torch.testing.assert_close(moved, delta[:, order], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(moved_state["coord"], new["coord"][:, order], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(few, delta[1, order[:5]], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", WITH_PHI)
@pytest.mark.parametrize("grad_mode", [False, True], ids=["no_grad", "grad"])
def test_vmap_over_phi_equals_a_loop(name: str, grad_mode: bool) -> None:
    rule, phi, state = _used(name, d=60)
    grad = _grads(K, 60)
    draw = generator("perturb")
    phis = {
        key: weight + 0.1 * torch.randn(4, *weight.shape, generator=draw, dtype=weight.dtype)
        for key, weight in phi.items()
    }

    def step(weights: Phi) -> tuple[Tensor, Tensor]:
        delta, new = rule.update(weights, _at(grad, 3), state)
        return delta, new["coord"]

    with torch.set_grad_enabled(grad_mode):
        deltas, coords = torch.func.vmap(step)(phis)
        loop = [step({key: weight[i] for key, weight in phis.items()}) for i in range(4)]
    torch.testing.assert_close(deltas, torch.stack([delta for delta, _ in loop]), rtol=1e-10, atol=1e-14)
    expected = torch.stack([coord for _, coord in loop])
    torch.testing.assert_close(coords.expand_as(expected), expected, rtol=1e-10, atol=1e-14)


@each_rule
@each_dtype
@pytest.mark.parametrize("columns", ["together", "apart"])
def test_sequence_equals_stepping_through(name: str, dtype: torch.dtype, columns: str) -> None:
    rule, phi, state = _used(name, k=1, dtype=dtype)
    steps = torch.arange(5).unsqueeze(1)
    if columns == "apart":  # columns from different windows
        steps = steps + torch.arange(D) % 7
    inputs = Inputs(grad=_grads(5, D, dtype=dtype), step=steps)
    column_state = {"coord": state["coord"][0].contiguous()}
    upstream = torch.randn(5, D, generator=generator("upstream"), dtype=dtype)
    results = []
    for way in (rule.sequence, lambda *args: step_through(rule, *args)):
        weights = {key: weight.clone().requires_grad_() for key, weight in phi.items()}
        deltas, last = way(weights, inputs, column_state)
        grads = torch.autograd.grad((deltas * upstream).sum(), list(weights.values())) if weights else ()
        with torch.no_grad():
            plain, plain_last = way(weights, inputs, column_state)
        results.append([deltas.detach(), last["coord"].detach(), plain, plain_last["coord"], *grads])
    assert results[0][0].shape == (5, D)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    for fused, stepped in zip(*results, strict=True):
        assert fused.dtype == dtype
        scale = float(torch.cat((stepped.abs().flatten(), torch.ones(1))).max())  # moments may be large
        torch.testing.assert_close(fused, stepped, rtol=tolerance, atol=tolerance * scale)


def test_every_kind_is_compiled() -> None:
    assert {RULES[name].kind for name in COMPILED} == {rule.kind for rule in RULES.values()}


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_update_gives_the_same_numbers(name: str) -> None:
    rule, phi, state = _used(name, d=30)
    grad = _grads(K, 30)

    def step(weights: Phi, g: Tensor, t: Tensor, coord: Tensor) -> tuple[Tensor, Tensor]:
        delta, new = rule.update(weights, Inputs(grad=g, step=t), {"coord": coord})
        return delta, new["coord"]

    torch.compiler.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        expected = step(phi, grad, torch.tensor(3), state["coord"])
        found = compiled(phi, grad, torch.tensor(3), state["coord"])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
