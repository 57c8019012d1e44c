"""Derivatives of a batch that is given by its losses alone; the laws of whole families are in test_task_laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.autograd_batch import AutogradBatch

K, D = 3, 4
SCALE = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def cubic(params: Tensor, batch: Tensor) -> Tensor:
    return SCALE * (params**3).sum(1) * batch


def made(losses: Any = cubic) -> AutogradBatch:
    def rows(seeds: Any) -> Tensor:
        return torch.tensor([[float(seed)] * D for seed in seeds], dtype=torch.float64)

    return AutogradBatch(Layout.flat(D), K, losses, rows, lambda seeds: rows(seeds)[:, 0])


def test_derivatives_are_those_of_each_row() -> None:
    tasks, x = made(), torch.arange(12, dtype=torch.float64).view(K, D)
    batch, v = tasks.draw_batch([1, 1, 2]), torch.ones(K, D, dtype=torch.float64)
    factor = (SCALE * batch)[:, None]
    loss, grad = tasks.loss_and_grad(x, batch)
    torch.testing.assert_close(loss, tasks.loss(x, batch))
    torch.testing.assert_close(grad, factor * 3 * x**2)
    torch.testing.assert_close(tasks.hvp(x, batch, v), factor * 6 * x)
    assert not loss.requires_grad
    assert not grad.requires_grad


def test_it_works_where_graphs_are_off_and_leaves_the_argument_alone() -> None:
    tasks, x = made(), torch.ones(K, D, dtype=torch.float64).requires_grad_()
    with torch.no_grad():
        _, grad = tasks.loss_and_grad(x, tasks.draw_batch([1, 1, 1]))
    assert x.grad is None
    assert grad.abs().sum() > 0


def test_linear_losses_have_no_curvature() -> None:
    tasks = made(lambda params, batch: params.sum(1) * batch)
    x = torch.ones(K, D, dtype=torch.float64)
    assert torch.equal(tasks.hvp(x, tasks.draw_batch([1, 2, 3]), x), torch.zeros(K, D, dtype=torch.float64))


def test_curvature_that_misses_a_coordinate_is_0_there() -> None:
    tasks = made(lambda params, batch: params[:, 0] ** 2 * batch + params[:, 1])
    x = torch.ones(K, D, dtype=torch.float64)
    product = tasks.hvp(x, tasks.draw_batch([1, 1, 1]), x)
    assert product.tolist() == [[2.0, 0.0, 0.0, 0.0]] * K


def test_no_draw_is_no_data() -> None:
    tasks = AutogradBatch(Layout.flat(D), K, cubic, made().start)
    assert tasks.draw_batch([1, 2, 3]) is None
    with pytest.raises(ValueError, match="one seed per instance"):
        tasks.draw_batch([1])
