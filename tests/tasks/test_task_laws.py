"""One table: every family x the laws of a task (the docstrings of ``rayl2o.tasks.base``)."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.registry import NAMED, build, family_of, task

K = 5
FAMILIES: dict[str, TaskFamily] = {
    "quadratic": task("quadratic"),
    "quadratic-12": task("quadratic", size=12, log10_smallest=-1.0, log10_largest=1.0),
    **{name: task(name, batch_size=16) for name in NAMED},
    "mlp-tanh-deep": task("mlp", hidden=(7, 6, 5), activation="tanh", batch_size=16),
    "mlp-relu-deep": task("mlp", hidden=(9, 8), activation="relu", batch_size=16),
    "mlp-softmax-regression": task("mlp", hidden=(), batch_size=16, split="test"),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return FAMILIES[request.param]


def specs_of(family: TaskFamily, k: int = K) -> list[TaskSpec]:
    rng = torch.Generator().manual_seed(11)
    return [family.sample(rng) for _ in range(k)]


def point(batch: TaskBatch, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Params far enough from the initialisation for curvature to show."""
    rng = torch.Generator().manual_seed(seed)
    return (0.4 * torch.randn(batch.k, batch.layout.size, generator=rng, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(family: TaskFamily, dtype: torch.dtype) -> None:
    tasks = build(specs_of(family), dtype=dtype)
    d = tasks.layout.size
    assert tasks.k == K
    params = tasks.init_params(range(K))
    batch = tasks.draw_batch(range(K))
    loss, grad = tasks.loss_and_grad(params, batch)
    results = [params, loss, grad, tasks.hvp(params, batch, params), tasks.loss(params, batch)]
    assert [tuple(r.shape) for r in results] == [(K, d), (K,), (K, d), (K, d), (K,)]
    assert {r.dtype for r in results} == {dtype}
    assert all(torch.isfinite(r).all() for r in results)


def test_float32_is_the_same_task(family: TaskFamily) -> None:
    single, double = build(specs_of(family), dtype=torch.float32), build(specs_of(family), dtype=torch.float64)
    assert torch.equal(single.init_params(range(K)), double.init_params(range(K)).float())
    x = point(double, 0)
    one, two = single.draw_batch(range(K)), double.draw_batch(range(K))
    for low, high in zip(single.loss_and_grad(x.float(), one), double.loss_and_grad(x, two), strict=True):
        torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-5)


def test_seeds_are_reproducible_and_rows_are_independent_of_k(family: TaskFamily) -> None:
    specs, seeds = specs_of(family), [3, 1, 4, 1, 5]
    tasks = build(specs, dtype=torch.float64)
    params = tasks.init_params(seeds)
    assert torch.equal(params, build(specs, dtype=torch.float64).init_params(seeds))
    assert torch.equal(params[1], params[3])
    assert not torch.equal(params[0], params[1])
    x, v = point(tasks, 0), point(tasks, 1)
    batch = tasks.draw_batch(seeds)
    (losses, grads), products = tasks.loss_and_grad(x, batch), tasks.hvp(x, batch, v)
    for k in range(K):
        row = slice(k, k + 1)
        alone = build(specs[row], dtype=torch.float64)
        assert torch.equal(alone.init_params(seeds[row]), params[row])
        one = alone.draw_batch(seeds[row])
        loss, grad = alone.loss_and_grad(x[row], one)
        torch.testing.assert_close(loss, losses[row], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(grad, grads[row], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(alone.hvp(x[row], one, v[row]), products[row], rtol=1e-12, atol=1e-14)


def test_the_same_call_gives_the_same_bits(family: TaskFamily) -> None:
    tasks = build(specs_of(family))
    x, v = point(tasks, 0, torch.float32), point(tasks, 1, torch.float32)
    batch, again = tasks.draw_batch(range(K)), tasks.draw_batch(range(K))
    for one, two in zip(tasks.loss_and_grad(x, batch), tasks.loss_and_grad(x, again), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(tasks.hvp(x, batch, v), tasks.hvp(x, again, v))


def test_equal_seeds_give_equal_minibatches(family: TaskFamily) -> None:
    specs = [specs_of(family)[0]] * K
    tasks = build(specs, dtype=torch.float64)
    x = point(tasks, 0)[:1].expand(K, -1)
    seeds = [7, 8, 7, 9, 7]
    losses, _ = tasks.loss_and_grad(x, tasks.draw_batch(seeds))
    torch.testing.assert_close(losses[0].expand(2), losses[[2, 4]], rtol=1e-13, atol=0)
    if tasks.draw_batch(seeds) is not None:
        assert len({round(value, 9) for value in losses.tolist()}) == 3


def test_loss_agrees_with_loss_and_grad(family: TaskFamily) -> None:
    tasks = build(specs_of(family), dtype=torch.float64)
    x, batch = point(tasks, 0), tasks.draw_batch(range(K))
    torch.testing.assert_close(tasks.loss(x, batch), tasks.loss_and_grad(x, batch)[0], rtol=1e-12, atol=0)


def test_gradient_equals_autograd(family: TaskFamily) -> None:
    tasks = build(specs_of(family), dtype=torch.float64)
    x, batch = point(tasks, 0).requires_grad_(), tasks.draw_batch(range(K))
    (expected,) = torch.autograd.grad(tasks.loss(x, batch).sum(), x)
    torch.testing.assert_close(tasks.loss_and_grad(x, batch)[1], expected, rtol=1e-10, atol=1e-13)


def test_gradient_equals_finite_differences(family: TaskFamily) -> None:
    tasks = build(specs_of(family), dtype=torch.float64)
    x, v, batch, h = point(tasks, 0), point(tasks, 1), tasks.draw_batch(range(K)), 1e-5
    up, down = (tasks.loss_and_grad(x + sign * h * v, batch)[0] for sign in (1, -1))
    slope = (tasks.loss_and_grad(x, batch)[1] * v).sum(1)
    torch.testing.assert_close(slope, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)


def test_hvp_equals_autograd(family: TaskFamily) -> None:
    tasks = build(specs_of(family), dtype=torch.float64)
    x, v, batch = point(tasks, 0).requires_grad_(), point(tasks, 1), tasks.draw_batch(range(K))
    (grad,) = torch.autograd.grad(tasks.loss(x, batch).sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(grad, x, v)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(tasks.hvp(x, batch, v), expected, rtol=1e-10, atol=1e-13)


def test_no_graph_is_built(family: TaskFamily) -> None:
    tasks = build(specs_of(family))
    x, batch = tasks.init_params(range(K)).requires_grad_(), tasks.draw_batch(range(K))
    loss, grad = tasks.loss_and_grad(x, batch)
    assert not any(r.requires_grad for r in (loss, grad, tasks.hvp(x, batch, x)))
    assert tasks.loss(x, batch).requires_grad


def test_a_spec_survives_json_and_rebuilds_the_family(family: TaskFamily) -> None:
    specs = specs_of(family)
    again = [TaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) for spec in specs]
    assert again == specs
    assert all(family_of(spec) == family for spec in again)
    one, two = build(specs), build(again)
    assert one.layout == two.layout
    x = point(one, 0, torch.float32)
    losses = [tasks.loss_and_grad(x, tasks.draw_batch(range(K)))[0] for tasks in (one, two)]
    assert torch.equal(*losses)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_instances_never_mix(family: TaskFamily, poison: float) -> None:
    """Not even where one has diverged, whether minibatches are shared or not."""
    tasks = build(specs_of(family))
    x, v = point(tasks, 0, torch.float32), point(tasks, 1, torch.float32)
    sick, others = x.clone(), [0, 1, 3, 4]
    sick[2] = poison

    def results(params: Tensor, seeds: list[int]) -> list[Tensor]:
        batch = tasks.draw_batch(seeds)
        return [*tasks.loss_and_grad(params, batch), tasks.hvp(params, batch, v), tasks.loss(params, batch)]

    for seeds in (list(range(K)), [2] * K):
        for bad, good in zip(results(sick, seeds), results(x, seeds), strict=True):
            assert torch.equal(bad[others], good[others])


def test_arguments_are_not_mutated(family: TaskFamily) -> None:
    tasks = build(specs_of(family))
    x, v, batch = point(tasks, 0, torch.float32), point(tasks, 1, torch.float32), tasks.draw_batch(range(K))
    kept = [x.clone(), v.clone(), tasks.loss(x, batch)]
    tasks.loss_and_grad(x, batch)
    tasks.hvp(x, batch, v)
    assert torch.equal(x, kept[0])
    assert torch.equal(v, kept[1])
    assert torch.equal(tasks.loss(x, batch), kept[2])


def test_wrong_number_of_seeds_is_a_bug_of_the_caller(family: TaskFamily) -> None:
    tasks = build(specs_of(family))
    with pytest.raises(ValueError, match="one seed per instance"):
        tasks.init_params([1])
    with pytest.raises(ValueError, match="one seed per instance"):
        tasks.draw_batch([1])
