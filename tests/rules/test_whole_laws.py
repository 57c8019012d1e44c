"""Every rule that needs whole tensors under the laws of :class:`rayl2o.rules.base.Rule`; ``test_rule_laws.py`` has the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, Rule, State, step_through
from rayl2o.rules.delayed import Delayed
from rayl2o.rules.registry import KINDS, make
from rayl2o.rules.scheduled import Scheduled
from rayl2o.rules.schedules import StepDecay
from rayl2o.seeds import generator
from tests.rules import law_rows_mlp, law_rows_scale

RULES: Mapping[str, Rule] = {
    **law_rows_scale.ROWS,
    **law_rows_mlp.ROWS,
    "scale, late": Delayed(law_rows_scale.ROWS["scale, uneven"], 2),
    "mlp, step decay": Scheduled(law_rows_mlp.ROWS["mlp"], StepDecay(2)),
}
COMPILED = [*law_rows_scale.COMPILED, *law_rows_mlp.COMPILED]
LAYOUT = Layout(
    ("a.w", "a.b", "b.w", "s"), ((3, 4), (4,), (4, 2), ()), ("weight", "bias", "weight", "scalar"), (0, 0, 1, 1)
)
K, D = 3, LAYOUT.size

each_rule = pytest.mark.parametrize("name", RULES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _grads(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Gradients over eight orders of magnitude."""
    draw = generator("whole", *shape)
    sizes = 10.0 ** torch.empty(shape, dtype=torch.float64).uniform_(-7.0, 1.0, generator=draw)
    return (sizes * torch.randn(shape, dtype=torch.float64, generator=draw)).to(dtype)


def _points(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=generator("points", *like.shape), dtype=torch.float64).to(like.dtype)


def _at(grad: Tensor, step: int | Tensor, layout: Layout = LAYOUT, params: Tensor | None = None) -> Inputs:
    return Inputs(grad, torch.as_tensor(step), _points(grad) if params is None else params, layout=layout)


def _start(name: str, dtype: torch.dtype = torch.float64, k: int = K) -> tuple[Rule, Phi, State]:
    rule = RULES[name]
    phi = rule.init_phi(generator("phi"), dtype)
    return rule, phi, rule.init_state(phi, LAYOUT, k, dtype)


def _used(name: str, dtype: torch.dtype = torch.float64) -> tuple[Rule, Phi, State]:
    """A rule whose state has seen three gradients."""
    rule, phi, state = _start(name, dtype)
    with torch.no_grad():
        for t, grad in enumerate(_grads(3, K, D, dtype=dtype)):
            _, state = rule.update(phi, _at(grad, t), state)
    return rule, phi, state


def _assert_close(found: State, expected: State, tolerance: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance)


def test_every_kind_that_needs_whole_tensors_is_here() -> None:
    whole = {kind for kind in KINDS if not make(kind, {}).coordinatewise}
    assert whole == {rule.kind for name, rule in RULES.items() if not isinstance(rule, (Delayed, Scheduled))}
    assert whole == {RULES[name].kind for name in COMPILED}


@each_rule
@each_dtype
def test_shapes_and_dtypes_are_kept(name: str, dtype: torch.dtype) -> None:
    rule, phi, state = _start(name, dtype)
    assert not rule.coordinatewise
    assert "layout" in rule.needs
    assert state["coord"].shape == (K, D, rule.state_size)
    assert {weight.dtype for weight in phi.values()} == {dtype}
    with torch.no_grad():
        delta, new = rule.update(phi, _at(_grads(K, D, dtype=dtype), 0), state)
    assert {key: value.shape for key, value in new.items()} == {key: value.shape for key, value in state.items()}
    assert {value.dtype for value in (*state.values(), *new.values())} == {dtype}
    assert (delta.shape, delta.dtype) == ((K, D), dtype)
    assert torch.isfinite(delta).all()


@each_rule
def test_update_is_pure(name: str) -> None:
    rule, phi, state = _used(name)
    grad, step = _grads(K, D), torch.tensor(3)
    everything = [grad, step, *phi.values(), *state.values()]
    before = [value.clone() for value in everything]
    with torch.no_grad():
        first, first_state = rule.update(phi, _at(grad, step), state)
        second, second_state = rule.update(phi, _at(grad, step), state)
    assert all(torch.equal(old, new) for old, new in zip(before, everything, strict=True))
    assert torch.equal(first, second)
    _assert_close(first_state, second_state, 0.0)


@each_rule
@each_dtype
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_a_zero_gradient_has_finite_derivatives_twice(name: str, dtype: torch.dtype, used: bool) -> None:
    rule, phi, state = (_used if used else _start)(name, dtype)
    dead = rule.init_state(phi, LAYOUT, K, dtype)["coord"][:, :9]  # such as a pixel that has never been lit
    state["coord"] = torch.cat((dead, state["coord"][:, 9:]), 1)
    grad = torch.zeros(K, D, dtype=dtype)
    leaves = [value.clone().requires_grad_() for value in (grad, *state.values(), *phi.values())]
    count = 1 + len(state)
    weights, now = dict(zip(phi, leaves[count:], strict=True)), dict(zip(state, leaves[1:count], strict=True))
    delta, new = rule.update(weights, _at(leaves[0], 3 if used else 0), now)
    total = torch.stack([delta.sum(), *(value.square().sum() for value in new.values())]).sum()
    first = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    assert first[0] is not None
    scaled = [slope / (1.0 + slope.detach().abs().max()) for slope in first if slope is not None]
    squares = torch.stack([slope.square().sum() for slope in scaled]).sum()
    second = torch.autograd.grad(squares, leaves, allow_unused=True)
    assert torch.isfinite(delta).all()
    assert all(torch.isfinite(slope).all() for slope in (*first, *second) if slope is not None)


@each_rule
@each_dtype
def test_a_saved_state_goes_on_with_the_same_bits(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    rule, phi, state = _used(name, dtype)
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "state.safetensors")
    loaded = load_file(tmp_path / "state.safetensors")
    grad = _grads(K, D, dtype=dtype)
    with torch.no_grad():
        delta, new = rule.update(phi, _at(grad, 3), state)
        resumed, resumed_state = rule.update(phi, _at(grad, 3), loaded)
    assert torch.equal(delta, resumed)
    _assert_close(resumed_state, new, 0.0)


@each_rule
def test_instances_do_not_mix(name: str) -> None:
    rule, phi, state = _used(name)
    grad = _grads(K, D)
    points, steps = _points(grad), torch.tensor([[3.0], [0.0], [5.0]])
    with torch.no_grad():
        delta, new = rule.update(phi, _at(grad, steps, params=points), state)
        for k in range(K):
            alone = {key: value[k : k + 1] for key, value in state.items()}
            inputs = _at(grad[k : k + 1], int(steps[k]), params=points[k : k + 1])
            one, one_state = rule.update(phi, inputs, alone)
            torch.testing.assert_close(one[0], delta[k], rtol=1e-12, atol=1e-14)
            _assert_close(one_state, {key: value[k : k + 1] for key, value in new.items()})


@each_rule
def test_permuting_coordinates_of_a_vector_permutes_the_update(name: str) -> None:
    rule, phi, state = _start(name)
    order = torch.arange(D)
    order[12:16] = torch.tensor([14, 12, 15, 13])
    moved_state = state | {"coord": state["coord"][:, order]}
    with torch.no_grad():
        for t, grad in enumerate(_grads(4, K, D)):
            points = _points(grad)
            delta, state = rule.update(phi, _at(grad, t, params=points), state)
            moved, moved_state = rule.update(phi, _at(grad[:, order], t, params=points[:, order]), moved_state)
            # Fresh rules may start their coordinates unlike, so what is compared is what a moved start gives.
            torch.testing.assert_close(moved, delta[:, order], rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(moved_state["coord"], state["coord"][:, order], rtol=1e-11, atol=1e-13)


@each_rule
@pytest.mark.parametrize("step", [0, 3])
def test_vmap_over_phi_and_state_equals_a_loop(name: str, step: int) -> None:
    rule, phi, state = _used(name)
    grads, draw = _grads(4, K, D), generator("perturb")
    phis = {key: w + 0.05 * torch.randn(4, *w.shape, generator=draw, dtype=w.dtype) for key, w in phi.items()}

    def run(weights: Phi, grad: Tensor) -> tuple[Tensor, State, State]:
        delta, new = rule.update(weights, _at(grad, step, params=grad), state)
        return delta, new, rule.init_state(weights, LAYOUT, K, torch.float64)

    deltas, states, starts = torch.func.vmap(run)(phis, grads)
    for i in range(4):
        delta, new, start = run({key: weight[i] for key, weight in phis.items()}, grads[i])
        torch.testing.assert_close(deltas[i], delta, rtol=1e-10, atol=1e-13)
        _assert_close({key: value[i] for key, value in states.items()}, new, 1e-10)
        _assert_close({key: value[i] for key, value in starts.items()}, start, 0.0)


@each_rule
@each_dtype
@pytest.mark.parametrize("steps", ["one", "by instance", "from the start"])
def test_sequence_equals_stepping_through(name: str, dtype: torch.dtype, steps: str) -> None:
    rule, phi, state = (_start if steps == "from the start" else _used)(name, dtype)
    grads = _grads(4, K, D, dtype=dtype)
    step = torch.arange(4.0, dtype=dtype)[:, None, None] + (0.0 if steps == "from the start" else 3.0)
    if steps == "by instance":
        step = step + torch.tensor([[0.0], [3.0], [7.0]], dtype=dtype)
    inputs = Inputs(grads, step, _points(grads), layout=LAYOUT)
    upstream = torch.randn(4, K, D, generator=generator("upstream"), dtype=dtype)
    results = []
    for way in (rule.sequence, lambda *args: step_through(rule, *args)):
        weights = {key: weight.clone().requires_grad_() for key, weight in phi.items()}
        deltas, last = way(weights, inputs, state)
        grads_of_phi = torch.autograd.grad((deltas * upstream).sum(), list(weights.values()), allow_unused=True)
        with torch.no_grad():
            plain, plain_last = way(weights, inputs, state)
        found = [torch.zeros(()) if g is None else g for g in grads_of_phi]
        ends = [value.detach() for value in (*last.values(), *plain_last.values())]
        results.append([deltas.detach(), plain, *ends, *found])
    assert results[0][0].shape == (4, K, D)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-11
    for fused, stepped in zip(*results, strict=True):
        scale = float(torch.cat((stepped.abs().flatten(), torch.full((1,), 1e-3))).max())
        torch.testing.assert_close(fused, stepped, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_update_gives_the_same_numbers(name: str) -> None:
    rule, phi, state = _used(name)
    layout = Layout(LAYOUT.names, LAYOUT.shapes, LAYOUT.kinds, LAYOUT.depths)  # nothing computed of it yet
    grad = _grads(K, D)
    points = _points(grad)

    def step(weights: Phi, grad: Tensor, points: Tensor, t: Tensor, now: State) -> tuple[Tensor, State]:
        return rule.update(weights, Inputs(grad, t, points, layout=layout), now)

    torch.compiler.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        expected = step(phi, grad, points, torch.tensor(3), state)
        found = compiled(phi, grad, points, torch.tensor(3), state)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
