"""The small MLP optimizer: against the reference in numpy, and under the laws of a rule that sees whole tensors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State
from rayl2o.rules.small_mlp import SmallMlp
from rayl2o.seeds import generator
from tests.rules import small_mlp_reference as reference
from tests.rules.law_rows_mlp import COMPILED, ROWS

SHAPES = ((3, 5), (6,), (2, 3, 4), (), (4, 4))
LAYOUT = Layout(("w", "b", "k", "s", "q"), SHAPES, ("weight", "bias", "weight", "scalar", "weight"), (0, 0, 1, 1, 2))
K = 3

each_rule = pytest.mark.parametrize("name", ROWS)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _rule(name: str) -> SmallMlp:
    rule = ROWS[name]
    assert isinstance(rule, SmallMlp)
    return rule


def _data(count: int, k: int = K, layout: Layout = LAYOUT, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Gradients over six orders of magnitude and parameters, ``[count, k, D]``."""
    draw = generator("small mlp data", count, k)
    size = 10.0 ** torch.empty(count, k, layout.size, dtype=torch.float64).uniform_(-5.0, 1.0, generator=draw)
    grads, params = torch.randn(2, count, k, layout.size, generator=draw, dtype=torch.float64)
    return (size * grads).to(dtype), params.to(dtype)


def _at(grad: Tensor, params: Tensor, step: int | Tensor, layout: Layout = LAYOUT) -> Inputs:
    return Inputs(grad, torch.as_tensor(step), params, layout=layout)


def _start(name: str, dtype: torch.dtype = torch.float64, layout: Layout = LAYOUT) -> tuple[SmallMlp, Phi, State]:
    rule = _rule(name)
    phi = rule.init_phi(generator("small mlp", name), dtype)
    return rule, phi, rule.init_state(phi, layout, K, dtype)


def _used(name: str, dtype: torch.dtype = torch.float64, layout: Layout = LAYOUT) -> tuple[SmallMlp, Phi, State]:
    """A rule whose state has seen three gradients."""
    rule, phi, state = _start(name, dtype, layout)
    with torch.no_grad():
        for t, (grad, params) in enumerate(zip(*_data(3, layout=layout, dtype=dtype), strict=True)):
            _, state = rule.update(phi, _at(grad, params, t, layout), state)
    return rule, phi, state


def _next(dtype: torch.dtype = torch.float64) -> Inputs:
    grads, params = _data(1, dtype=dtype)
    return _at(grads[0], params[0], 3)


def _params(inputs: Inputs) -> Tensor:
    assert inputs.params is not None
    return inputs.params


@each_rule
@each_dtype
def test_four_steps_are_the_reference(name: str, dtype: torch.dtype) -> None:
    rule, phi, state = _start(name, dtype)
    grads, params = _data(4, dtype=dtype)
    arrays = {key: w.double().numpy() for key, w in phi.items()}
    decays = reference.decays(arrays.pop("mlp.decays", np.zeros(7)))
    tensors = [[reference.Tensor(shape, decays) for shape in SHAPES] for _ in range(K)]
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for t in range(4):
        with torch.no_grad():
            delta, state = rule.update(phi, _at(grads[t], params[t], t), state)
        for k in range(K):
            seen = zip(tensors[k], *(LAYOUT.unflatten(x[t, k].double()).values() for x in (grads, params)), strict=True)
            features = [tensor.features(g.numpy(), p.numpy()) for tensor, g, p in seen]
            made = [reference.displacement(arrays, x, t, rule.exp_mult, rule.step_mult) for x in features]
            expected = np.concatenate([x.reshape(-1) for x in made])
            np.testing.assert_allclose(delta[k], expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_sizes() -> None:
    rule, phi, state = _start("mlp, fresh")
    assert sum(w.numel() for w in phi.values()) == 197
    assert sum(w.numel() for w in SmallMlp(learn_decays=False).init_phi(generator("any")).values()) == 190
    rows_and_columns = (3 + 5) + 6 + (2 * 3 + 2 * 4) + 1 + (4 + 4)
    assert state["coord"].shape == (K, LAYOUT.size, rule.state_size)
    assert state["global"].shape == (K, 3 * rows_and_columns)


@each_rule
@each_dtype
def test_shapes_and_dtypes_are_kept(name: str, dtype: torch.dtype) -> None:
    rule, phi, state = _start(name, dtype)
    assert all(w.dtype == dtype for w in phi.values())
    with torch.no_grad():
        delta, new = rule.update(phi, _next(dtype), state)
    assert (delta.shape, delta.dtype) == ((K, LAYOUT.size), dtype)
    assert torch.isfinite(delta).all()
    assert {key: (x.shape, x.dtype) for key, x in new.items()} == {key: (x.shape, dtype) for key, x in state.items()}


@each_rule
def test_update_is_pure(name: str) -> None:
    rule, phi, state = _used(name)
    inputs = _next()
    everything = [inputs.grad, inputs.step, _params(inputs), *phi.values(), *state.values()]
    before = [value.clone() for value in everything]
    with torch.no_grad():
        first, second = rule.update(phi, inputs, state), rule.update(phi, inputs, state)
    assert all(torch.equal(old, new) for old, new in zip(before, everything, strict=True))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[1][key], second[1][key]) for key in state)


@each_rule
@each_dtype
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_a_zero_gradient_has_finite_derivatives(name: str, dtype: torch.dtype, used: bool) -> None:
    rule, phi, state = (_used if used else _start)(name, dtype)
    zero = torch.zeros(K, LAYOUT.size, dtype=dtype)
    leaves = [zero.requires_grad_(), zero.detach().clone().requires_grad_()]
    leaves += [x.requires_grad_() for x in (*state.values(), *phi.values())]
    delta, new = rule.update(phi, _at(leaves[0], leaves[1], 3), state)
    total = torch.stack([x.square().sum() + x.sum() for x in (delta, *new.values())]).sum()
    derivatives = torch.autograd.grad(total, leaves, create_graph=True)
    squares = torch.stack([d.square().sum() for d in derivatives]).sum()
    second = torch.autograd.grad(squares, leaves, allow_unused=True)
    assert torch.isfinite(delta).all()
    assert all(torch.isfinite(d).all() for d in derivatives)
    if dtype == torch.float64:  # those of rsqrt(1e-9) squared are beyond float32
        assert all(torch.isfinite(d).all() for d in second if d is not None)


@each_rule
@each_dtype
def test_a_saved_state_goes_on_with_the_same_bits(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    rule, phi, state = _used(name, dtype)
    save_file({key: x.contiguous() for key, x in state.items()}, tmp_path / "state.safetensors")
    loaded = load_file(tmp_path / "state.safetensors")
    with torch.no_grad():
        kept, resumed = (rule.update(phi, _next(dtype), s) for s in (state, loaded))
    assert torch.equal(kept[0], resumed[0])
    assert all(torch.equal(kept[1][key], resumed[1][key]) for key in state)


@each_rule
def test_instances_do_not_mix(name: str) -> None:
    rule, phi, state = _used(name)
    inputs = _next()
    with torch.no_grad():
        delta, new = rule.update(phi, inputs, state)
        for k in range(K):
            own = {key: x[k : k + 1] for key, x in state.items()}
            alone, own = rule.update(phi, _at(inputs.grad[k : k + 1], _params(inputs)[k : k + 1], 3), own)
            torch.testing.assert_close(alone[0], delta[k], rtol=1e-11, atol=1e-14)
            for key in own:
                torch.testing.assert_close(own[key][0], new[key][k], rtol=1e-12, atol=1e-15)


@each_rule
def test_instances_may_be_at_steps_of_their_own(name: str) -> None:
    rule, phi, state = _used(name)
    inputs = _next()
    steps = torch.tensor([[0], [3], [500]])
    with torch.no_grad():
        delta, _ = rule.update(phi, _at(inputs.grad, _params(inputs), steps), state)
        for k, step in enumerate(steps):
            same, _ = rule.update(phi, _at(inputs.grad, _params(inputs), step), state)
            torch.testing.assert_close(delta[k], same[k], rtol=1e-12, atol=1e-15)
            assert k == 0 or not torch.allclose(delta[0], same[0])


@each_rule
def test_the_order_in_a_vector_does_not_matter(name: str) -> None:
    """From the first step on: the state is permuted by the rule itself."""
    rule = _rule(name)
    phi = rule.init_phi(generator("small mlp", name), torch.float64)
    order = torch.arange(LAYOUT.size)
    order[15:21] = order[15:21][torch.tensor([3, 0, 5, 1, 4, 2])]
    ends = []
    for columns in (torch.arange(LAYOUT.size), order):
        state = rule.init_state(phi, LAYOUT, K, torch.float64)
        with torch.no_grad():
            for t, (grad, params) in enumerate(zip(*_data(3), strict=True)):
                delta, state = rule.update(phi, _at(grad[:, columns], params[:, columns], t), state)
        ends.append((delta, state["coord"]))
    for plain, permuted in zip(*ends, strict=True):
        torch.testing.assert_close(permuted, plain[:, order], rtol=1e-11, atol=1e-14)


@each_rule
def test_the_order_of_the_tensors_does_not_matter(name: str) -> None:
    rule = _rule(name)
    phi = rule.init_phi(generator("small mlp", name), torch.float64)
    turned = [4, 2, 0, 3, 1]
    names, shapes = tuple(LAYOUT.names[i] for i in turned), tuple(SHAPES[i] for i in turned)
    other = Layout(names, shapes, LAYOUT.kinds, LAYOUT.depths)  # neither of which it sees
    state, moved = (rule.init_state(phi, layout, K, torch.float64) for layout in (LAYOUT, other))
    with torch.no_grad():
        for t, (grad, params) in enumerate(zip(*_data(3), strict=True)):
            delta, state = rule.update(phi, _at(grad, params, t), state)
            seen = [other.flatten(LAYOUT.unflatten(x)) for x in (grad, params)]
            moved_delta, moved = rule.update(phi, _at(seen[0], seen[1], t, other), moved)
    torch.testing.assert_close(moved_delta, other.flatten(LAYOUT.unflatten(delta)), rtol=1e-11, atol=1e-14)


def _many(phi: Phi, count: int) -> Phi:
    draw = generator("perturb")
    return {key: w + 0.02 * torch.randn(count, *w.shape, generator=draw, dtype=w.dtype) for key, w in phi.items()}


@each_rule
@pytest.mark.parametrize("grad_mode", [False, True], ids=["no_grad", "grad"])
def test_vmap_over_phi_equals_a_loop(name: str, grad_mode: bool) -> None:
    rule, phi, state = _used(name)
    phis, inputs = _many(phi, 4), _next()
    with torch.set_grad_enabled(grad_mode):
        found = torch.func.vmap(lambda weights: rule.update(weights, inputs, state))(phis)
        loop = [rule.update({key: w[i] for key, w in phis.items()}, inputs, state) for i in range(4)]
    for i, (delta, new) in enumerate(loop):
        torch.testing.assert_close(found[0][i], delta, rtol=1e-10, atol=1e-14)
        for key in new:
            torch.testing.assert_close(found[1][key][i], new[key], rtol=1e-10, atol=1e-14)


@each_rule
@pytest.mark.parametrize("layout", [LAYOUT, Layout.flat(10)], ids=["tensors", "vector"])
def test_each_with_its_own_weights_is_vmap_over_instances(name: str, layout: Layout) -> None:
    rule, phi, state = _used(name, layout=layout)
    phis = _many(phi, K)
    grads, params = _data(1, layout=layout)

    def alone(weights: Phi, grad: Tensor, point: Tensor, own: State) -> tuple[Tensor, State]:
        return rule.update(weights, _at(grad, point, 3, layout), own)

    with torch.no_grad():
        found, new = rule.update_each(phis, _at(grads[0], params[0], 3, layout), state)
        singles = {key: x.unsqueeze(1) for key, x in state.items()}
        expected, ends = torch.func.vmap(alone)(phis, grads[0].unsqueeze(1), params[0].unsqueeze(1), singles)
    torch.testing.assert_close(found, expected.squeeze(1), rtol=1e-11, atol=1e-14)
    for key in new:
        torch.testing.assert_close(new[key], ends[key].squeeze(1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_update_gives_the_same_numbers(name: str) -> None:
    rule, phi, state = _used(name)
    inputs = _next()
    given = phi, inputs.grad, _params(inputs), inputs.step, state

    def step(weights: Phi, grad: Tensor, params: Tensor, t: Tensor, old: State) -> tuple[Tensor, State]:
        return rule.update(weights, Inputs(grad, t, params, layout=LAYOUT), old)

    torch.compiler.reset()
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        expected, found = step(*given), compiled(*given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@each_rule
def test_derivatives_once_and_twice(name: str) -> None:
    layout = Layout(("w", "b"), ((2, 3), (2,)), ("weight", "bias"), (0, 0))
    rule, phi, fresh = _start(name, layout=layout)
    draw = generator("derivatives")
    grad, params, *moments = (
        0.5 + torch.rand(shape, generator=draw, dtype=torch.float64)
        for shape in ((K, 8), (K, 8), *(x.shape for x in fresh.values()))
    )
    names = [*phi, *fresh]
    leaves = [x.requires_grad_() for x in (grad, params, *phi.values(), *moments)]

    def step(grad: Tensor, point: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, rest, strict=True))
        old = {key: given[key] for key in fresh}
        delta, new = rule.update({key: given[key] for key in phi}, _at(grad, point, 3, layout), old)
        return delta / rule.step_mult, *new.values()

    assert torch.autograd.gradcheck(step, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(step, leaves, fast_mode=True, atol=1e-4)


def test_decays_of_squares_stay_in_range_and_the_step_is_small_at_the_start() -> None:
    rule, phi, state = _start("mlp, fresh")
    grads, params = _data(1)
    with torch.no_grad():
        delta, _ = rule.update(phi, _at(grads[0], params[0], 0), state)
        _, forgetful = rule.update(phi | {"mlp.decays": torch.ones(7, dtype=torch.float64)}, _next(), state)
    assert 0.0 < float(delta.abs().max()) < 0.02
    assert torch.equal(forgetful["coord"][..., 3], _next().grad ** 2)
    torch.testing.assert_close(forgetful["coord"][..., 0], 0.1 * math.exp(10.0) * _next().grad)


@pytest.mark.parametrize(
    "settings",
    [{"hidden": ()}, {"hidden": (4, 0)}, {"exp_mult": 0.0}, {"step_mult": -1.0}, {"step_mult": math.inf}],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="mlp"):
        SmallMlp(**settings)  # type: ignore[arg-type]
