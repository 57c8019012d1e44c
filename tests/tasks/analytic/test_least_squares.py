from __future__ import annotations

import pytest
import torch

from rayl2o.layout import Layout
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch


def build(k: int, m: int, n: int, scale: float = 0.5) -> LeastSquaresBatch:
    rng = torch.Generator().manual_seed(0)
    matrix = torch.randn(k, m, n, generator=rng, dtype=torch.float64)
    target = torch.randn(k, m, generator=rng, dtype=torch.float64)
    return LeastSquaresBatch(Layout.flat(n), matrix, target, scale, init_std=1.0)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_loss_is_the_squared_norm(scale: float) -> None:
    tasks = build(3, 6, 4, scale)
    x = tasks.init_params([1, 2, 3])
    for k in range(3):
        residual = tasks.matrix[k] @ x[k] - tasks.target[k]
        torch.testing.assert_close(tasks.loss(x, None)[k], scale * residual @ residual)
        torch.testing.assert_close(tasks.loss_and_grad(x, None)[1][k], 2 * scale * tasks.matrix[k].T @ residual)
        hessian = torch.stack([tasks.hvp(x, None, row.expand(3, -1))[k] for row in torch.eye(4).double()])
        torch.testing.assert_close(hessian, 2 * scale * tasks.matrix[k].T @ tasks.matrix[k])


@pytest.mark.parametrize(("m", "n"), [(9, 4), (4, 4), (3, 5)])
def test_optimum_and_minimum(m: int, n: int) -> None:
    tasks = build(4, m, n)
    loss, grad = tasks.loss_and_grad(tasks.optimum, None)
    torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-10, rtol=0)
    torch.testing.assert_close(loss, tasks.minimum, atol=1e-14, rtol=1e-12)
    solved = torch.linalg.lstsq(tasks.matrix, tasks.target.unsqueeze(-1), driver="gelsd").solution.squeeze(-1)
    torch.testing.assert_close(tasks.optimum, solved, atol=1e-9, rtol=1e-9)
    assert (tasks.minimum > 1e-3).all() == (m > n)


def test_the_start_has_its_spread() -> None:
    tasks = LeastSquaresBatch(Layout.flat(3000), torch.zeros(1, 1, 3000), torch.zeros(1, 1), 1.0, init_std=0.01)
    x = tasks.init_params([4])
    assert x.dtype == torch.float32
    assert abs(x.std() - 0.01) < 5e-4
