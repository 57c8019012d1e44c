from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.chunked_batch import ChunkedBatch

seen: list[int] = []


def losses(params: Tensor, batch: Tensor) -> Tensor:
    seen.append(len(params))
    return (params.square() * batch).sum(1) + params.prod(1)


def draw(seeds: Sequence[int]) -> Tensor:
    return torch.tensor([[float(seed), 1.0, 2.0] for seed in seeds], dtype=torch.float64)


def batch(chunk: int) -> ChunkedBatch:
    start = torch.zeros(5, 3, dtype=torch.float64)
    return ChunkedBatch(Layout.flat(3), 5, losses, lambda seeds: start, draw, chunk)


@pytest.mark.parametrize(("chunk", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_chunks_change_nothing(chunk: int, sizes: list[int]) -> None:
    rng = torch.Generator().manual_seed(0)
    x, v = (torch.randn(5, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    tasks, items = batch(chunk), draw(range(5))
    seen.clear()
    loss, grad = tasks.loss_and_grad(x, items)
    assert seen == sizes
    point = x.clone().requires_grad_()
    expected = losses(point, items)
    (slope,) = torch.autograd.grad(expected.sum(), point, create_graph=True)
    (product,) = torch.autograd.grad(slope, point, v)
    assert torch.equal(loss, expected.detach())
    torch.testing.assert_close(grad, slope.detach())
    seen.clear()
    torch.testing.assert_close(tasks.hvp(x, items, v), product)
    assert seen == sizes
    assert torch.equal(tasks.loss(x, items), expected.detach())
    assert not loss.requires_grad
    assert not grad.requires_grad
