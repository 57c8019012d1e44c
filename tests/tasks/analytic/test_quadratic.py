from __future__ import annotations

import math

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.base import TaskSpec


def build(k: int, family: Quadratic, dtype: torch.dtype = torch.float64) -> QuadraticBatch:
    rng = torch.Generator().manual_seed(0)
    return family.build([family.sample(rng) for _ in range(k)], dtype=dtype)


@pytest.mark.parametrize("family", [Quadratic(), Quadratic(size=1), Quadratic(12, -2.0, 1.0)])
def test_the_optimum_is_where_loss_and_gradient_vanish(family: Quadratic) -> None:
    task = build(6, family)
    loss, grad = task.loss_and_grad(task.optimum, None)
    assert torch.equal(loss, torch.zeros(6, dtype=torch.float64))
    assert torch.equal(grad, torch.zeros(6, family.size, dtype=torch.float64))
    start, _ = task.loss_and_grad(task.init_params(range(6)), None)
    assert (start > 0).all()


def test_it_is_the_form_of_the_paper() -> None:
    """1/2 x'Hx + v'x + const with v ~ N(0, 1), eigenvalues 10^U(-3, 0) and minimum 0."""
    task = build(200, Quadratic())
    eigenvalues = torch.linalg.eigvalsh(task.hessian)
    exponents = eigenvalues.log10().flatten()
    assert exponents.min() >= -3 - 1e-9
    assert exponents.max() <= 1e-9
    quartiles = torch.quantile(exponents, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quartiles, torch.tensor([-2.25, -1.5, -0.75]).double(), atol=0.15, rtol=0)
    slope = -(task.hessian @ task.optimum.unsqueeze(-1)).squeeze(-1)
    assert abs(slope.mean()) < 0.1
    assert abs(slope.std() - 1) < 0.1
    x = task.init_params(range(200))
    const = -(slope * task.optimum).sum(1) / 2
    paper = (x * (task.hessian @ x.unsqueeze(-1)).squeeze(-1)).sum(1) / 2 + (slope * x).sum(1) + const
    torch.testing.assert_close(task.loss(x, None), paper, rtol=1e-9, atol=1e-9)


def test_basis_is_orthogonal_and_has_no_preferred_sign() -> None:
    flat = build(300, Quadratic(log10_smallest=0.0, log10_largest=0.0))
    eye = torch.eye(5, dtype=torch.float64).expand(300, 5, 5)
    torch.testing.assert_close(flat.hessian, eye, atol=1e-12, rtol=0)
    signs = flat.factor[:, 0, 0].sign().mean()  # all of one sign without the correction of QR
    assert abs(signs) < 0.2


def test_float32_does_not_go_below_the_minimum() -> None:
    task = build(50, Quadratic(), torch.float32)
    near = task.optimum * (1 + 1e-6)
    assert (task.loss_and_grad(near, None)[0] >= 0).all()


def test_steepest_descent_at_two_over_the_sum_converges() -> None:
    task = build(8, Quadratic(log10_smallest=-1.0))
    x = task.init_params(range(8))
    for _ in range(300):
        x = x - 2 / 1.1 * task.loss_and_grad(x, None)[1]
    assert task.loss(x, None).max() < 1e-20


def test_tasks_differ_by_their_seed() -> None:
    family = Quadratic()
    specs = [TaskSpec("quadratic", {}, seed) for seed in (1, 2, 1)]
    task = family.build(specs)
    assert torch.equal(task.optimum[0], task.optimum[2])
    assert not torch.equal(task.optimum[0], task.optimum[1])
    rng = torch.Generator().manual_seed(3)
    assert family.sample(rng).seed != family.sample(rng).seed


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"log10_smallest": 1.0}, {"log10_largest": math.inf}, {"log10_smallest": math.nan}]
)
def test_bad_settings(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match="quadratic"):
        Quadratic(**bad)  # type: ignore[arg-type]
