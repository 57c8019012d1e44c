from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.matrix_factorisation import NAMED, MatrixFactorisation, MatrixFactorisationBatch
from rayl2o.tasks.settings import from_settings


def build(k: int, family: MatrixFactorisation) -> MatrixFactorisationBatch:
    rng = torch.Generator().manual_seed(0)
    return family.build([family.sample(rng) for _ in range(k)], dtype=torch.float64)


def test_loss_is_the_mean_square_over_observed_entries() -> None:
    tasks = build(3, MatrixFactorisation(rows=6, columns=5, rank=2, observed=0.4))
    assert tasks.mask is not None
    assert tasks.count == 12
    assert tasks.mask.sum((1, 2)).tolist() == [12, 12, 12]
    x = tasks.init_params([1, 2, 3])
    tensors = tasks.layout.unflatten(x)
    for k in range(3):
        error = tensors["left"][k] @ tensors["right"][k].T - tasks.target[k]
        expected = error[tasks.mask[k].bool()].square().mean()
        torch.testing.assert_close(tasks.loss(x, None)[k], expected)


def test_the_matrix_is_of_its_rank_and_scale() -> None:
    tasks = build(200, MatrixFactorisation(rows=8, columns=7, rank=2, true_rank=3))
    values = torch.linalg.svdvals(tasks.target)
    assert values[:, 3:].max() < 1e-12
    assert values[:, 2].min() > 1e-3
    assert tasks.target.square().mean().item() == pytest.approx(1, rel=0.1)
    noisy = build(200, MatrixFactorisation(rows=8, columns=7, noise=2.0))
    assert noisy.target.square().mean().item() == pytest.approx(5, rel=0.1)
    assert torch.linalg.svdvals(noisy.target).min() > 1e-3


def balanced(target: Tensor, rank: int) -> Tensor:
    """Params of the best approximation of a rank, ``[K, D]``."""
    left, values, right = torch.linalg.svd(target, full_matrices=False)
    root = values[:, None, :rank].sqrt()
    return torch.cat([(left[:, :, :rank] * root).flatten(1), (right.mT[:, :, :rank] * root).flatten(1)], 1)


def test_the_lower_bound_is_attained_by_the_singular_vectors() -> None:
    tasks = build(4, MatrixFactorisation(rows=9, columns=7, rank=2, true_rank=5, noise=0.3))
    best = balanced(tasks.target, 2)
    loss, grad = tasks.loss_and_grad(best, None)
    torch.testing.assert_close(loss, tasks.lower_bound)
    torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-12, rtol=0)
    assert (tasks.lower_bound > 0.05).all()
    for seed in range(10):
        other = best + tasks.init_params([seed] * 4)
        assert (tasks.loss(other, None) > tasks.lower_bound).all()


def test_a_lower_bound_of_zero_is_attained_without_noise() -> None:
    for observed in (1.0, 0.6):
        tasks = build(2, MatrixFactorisation(rows=9, columns=7, observed=observed))
        assert tasks.lower_bound.max() < 1e-20
        assert tasks.loss(balanced(tasks.target, 3), None).max() < 1e-20


def test_gradient_descent_leaves_the_saddle_and_finds_the_optimum() -> None:
    tasks = build(3, MatrixFactorisation(rows=9, columns=7, rank=2, true_rank=3))
    x = tasks.init_params([0, 1, 2])
    for _ in range(3000):
        x = x - 2.0 * tasks.loss_and_grad(x, None)[1]
    torch.testing.assert_close(tasks.loss(x, None), tasks.lower_bound, rtol=1e-6, atol=0)


def test_names_and_sizes() -> None:
    named = NAMED["matrix-completion"]
    family = from_settings(MatrixFactorisation, {**named.defaults, **named.fixed}, "matrix-completion")
    assert (family.layout.size, family.observed) == (150, 0.5)
    assert family.layout.shapes == ((30, 3), (20, 3))


@pytest.mark.parametrize(
    "bad",
    [
        {"rows": 0},
        {"columns": 0},
        {"rank": 0},
        {"rank": 21},
        {"true_rank": 21},
        {"true_rank": -1},
        {"noise": -0.1},
        {"observed": 0.0},
        {"observed": 1.1},
        {"init_std": float("inf")},
    ],
)
def test_bad_settings(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(UserError, match=rf"matrix-factorisation\.{name} is out of range"):
        MatrixFactorisation(**bad)
