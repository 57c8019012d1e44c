from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.composite import CompositeBatch
from rayl2o.tasks.analytic.lasso import NAMED, Lasso
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.settings import from_settings

SMALL = Lasso(size=40, rows=20, nonzeros=5)


def build(k: int, family: Lasso) -> tuple[CompositeBatch, LeastSquaresBatch]:
    rng = torch.Generator().manual_seed(0)
    tasks = family.build([family.sample(rng) for _ in range(k)], dtype=torch.float64)
    assert isinstance(tasks.base, LeastSquaresBatch)
    return tasks, tasks.base


def test_it_is_the_published_form() -> None:
    tasks, smooth = build(50, SMALL)
    assert smooth.matrix.shape == (50, 20, 40)
    columns = torch.linalg.vector_norm(smooth.matrix, dim=1)
    torch.testing.assert_close(columns, torch.ones_like(columns))
    x = tasks.init_params(range(50))
    residual = torch.einsum("kij,kj->ki", smooth.matrix, x) - smooth.target
    torch.testing.assert_close(tasks.loss(x, None), residual.square().sum(1) / 2 + 0.1 * x.abs().sum(1))


def test_behind_b_there_is_a_sparse_signal() -> None:
    """With one nonzero b is a multiple of a column; with five its mean square is 5 / rows (unit columns, unit normal entries)."""
    _, smooth = build(10, Lasso(size=12, rows=6, nonzeros=1))
    cosine = torch.einsum("kij,ki->kj", smooth.matrix, smooth.target) / torch.linalg.vector_norm(
        smooth.target, dim=1, keepdim=True
    )
    torch.testing.assert_close(cosine.abs().amax(1), torch.ones(10, dtype=torch.float64))
    _, many = build(300, SMALL)
    assert many.target.square().mean().item() == pytest.approx(5 / 20, rel=0.1)


def test_gradient_vanishes_where_scikit_learn_ends() -> None:
    """Its objective is ours divided by rows. On the support the gradient is 0, off it the residual stays within l1."""
    from sklearn.linear_model import Lasso as Solver

    tasks, smooth = build(1, SMALL)
    solver = Solver(alpha=0.1 / 20, fit_intercept=False, tol=1e-12, max_iter=100_000)
    found = torch.from_numpy(solver.fit(smooth.matrix[0].numpy(), smooth.target[0].numpy()).coef_).unsqueeze(0)
    support = found != 0
    assert 0 < support.sum() < 40
    _, grad = tasks.loss_and_grad(found, None)
    assert grad[support].abs().max() < 1e-6
    assert grad[~support].abs().max() < 0.1 + 1e-6
    best = tasks.loss(found, None)
    for seed in range(20):
        nearby = found + 0.01 * tasks.init_params([seed])
        assert tasks.loss(nearby, None) > best


def test_at_zero_the_subgradient_is_that_of_the_smooth_part() -> None:
    tasks, smooth = build(3, Lasso(size=40, rows=20, nonzeros=5, init_std=0.0))
    start = tasks.init_params([1, 2, 3])
    assert torch.equal(start, torch.zeros(3, 40, dtype=torch.float64))
    assert torch.equal(tasks.loss_and_grad(start, None)[1], smooth.loss_and_grad(start, None)[1])
    x, v = torch.ones_like(start), torch.ones_like(start)
    assert torch.equal(tasks.hvp(x, None, v), smooth.hvp(x, None, v))


def test_names() -> None:
    true, twin = (from_settings(Lasso, NAMED[name].fixed, name) for name in ("lasso", "lasso-small"))
    assert (true.size, true.rows, true.nonzeros, true.l1) == (500, 250, 50, 0.1)
    assert twin == SMALL
    assert NAMED["lasso-small"].twin_of == "lasso"


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"rows": 0}, {"nonzeros": 0}, {"nonzeros": 501}, {"l1": -1.0}, {"init_std": float("nan")}]
)
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"lasso\.\w+ is out of range"):
        Lasso(**bad)
