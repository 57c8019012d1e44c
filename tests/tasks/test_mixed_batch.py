"""Instances of different sizes side by side: each behaves as it does alone."""

from __future__ import annotations

import torch

from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.mixed_batch import MixedBatch, build_mixed
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.registry import build, family_of

SEEDS = [5, 6, 7, 8]


def specs() -> list[TaskSpec]:
    rng = torch.Generator().manual_seed(3)
    families = (Quadratic(3), MLP(hidden=(2,), batch_size=8), Quadratic(7), Quadratic(3))
    return [family.sample(rng) for family in families]


def mixed() -> MixedBatch:
    found = build_mixed(specs(), lambda alike: build(alike, dtype=torch.float64))
    assert isinstance(found, MixedBatch)
    return found


def test_alike_specs_are_built_as_ever() -> None:
    alike = [specs()[0], specs()[3]]
    assert type(build_mixed(alike, build)) is type(family_of(alike[0]).build(alike))


def test_every_row_is_the_instance_that_it_is_alone() -> None:
    tasks, rng = mixed(), torch.Generator().manual_seed(1)
    assert (tasks.k, tasks.layout.size) == (4, MLP(hidden=(2,)).layout.size)
    params = tasks.init_params(SEEDS)
    x, v = (torch.randn(params.shape, generator=rng, dtype=torch.float64) for _ in range(2))
    batch = tasks.draw_batch(SEEDS)
    loss, grad = tasks.loss_and_grad(x, batch)
    product = tasks.hvp(x, batch, v)
    torch.testing.assert_close(tasks.loss(x, batch), loss)
    for row, spec in enumerate(specs()):
        alone = build([spec], dtype=torch.float64)
        d, seed, at = alone.layout.size, [SEEDS[row]], slice(row, row + 1)
        one = alone.draw_batch(seed)
        own_loss, own_grad = alone.loss_and_grad(x[at, :d], one)
        assert torch.equal(params[at, :d], alone.init_params(seed))
        torch.testing.assert_close(loss[at], own_loss)
        torch.testing.assert_close(grad[at, :d], own_grad)
        torch.testing.assert_close(product[at, :d], alone.hvp(x[at, :d], one, v[at, :d]))
        for padded in (params, grad, product):
            assert not padded[row, d:].any()
