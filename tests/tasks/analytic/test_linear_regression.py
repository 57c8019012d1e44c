from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.analytic.linear_regression import NAMED, LinearRegression
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.base import TaskSpec


def build(k: int, family: LinearRegression) -> LeastSquaresBatch:
    rng = torch.Generator().manual_seed(0)
    tasks = family.build([family.sample(rng) for _ in range(k)], dtype=torch.float64)
    assert isinstance(tasks, LeastSquaresBatch)
    return tasks


@pytest.mark.parametrize("rows", [0, 5, 8])
def test_it_is_the_form_of_the_paper(rows: int) -> None:
    tasks = build(300, LinearRegression(rows=rows))
    assert tasks.matrix.shape == (300, rows or 5, 5)
    exponents = torch.linalg.svdvals(tasks.matrix).square().log10().flatten()
    assert exponents.min() >= -3 - 1e-9
    assert exponents.max() <= 1e-9
    quartiles = torch.quantile(exponents, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quartiles, torch.tensor([-2.25, -1.5, -0.75]).double(), atol=0.15, rtol=0)
    assert abs(tasks.target.mean()) < 0.1
    assert abs(tasks.target.std() - 1) < 0.05
    assert abs(tasks.init_params(range(300)).std() - 1) < 0.05


def test_bases_are_random_on_both_sides() -> None:
    flat = build(400, LinearRegression(size=3, rows=4, log10_smallest=0.0))
    gram = flat.matrix.mT @ flat.matrix
    torch.testing.assert_close(gram, torch.eye(3, dtype=torch.float64).expand(400, -1, -1), atol=1e-12, rtol=0)
    assert flat.matrix.mean(0).abs().max() < 0.1
    torch.testing.assert_close(flat.matrix.square().mean(0), torch.full((4, 3), 0.25).double(), atol=0.04, rtol=0)


def test_the_optimum_is_known() -> None:
    for rows in (0, 9):
        tasks = build(6, LinearRegression(rows=rows))
        loss, grad = tasks.loss_and_grad(tasks.optimum, None)
        torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-12, rtol=0)
        torch.testing.assert_close(loss, tasks.minimum, atol=1e-20, rtol=1e-9)
        assert (tasks.minimum > 0.1).all() if rows else (tasks.minimum < 1e-20).all()


def test_code_is_the_quadratic_of_the_same_seed() -> None:
    family = LinearRegression(size=4, log10_smallest=-2.0, variant="code")
    specs = [family.sample(torch.Generator().manual_seed(seed)) for seed in range(3)]
    tasks = family.build(specs, dtype=torch.float64)
    quadratic = Quadratic(4, -2.0, 0.0)
    settings = {"size": 4, "log10_smallest": -2.0, "log10_largest": 0.0}
    expected = quadratic.build([TaskSpec("quadratic", settings, spec.seed) for spec in specs], dtype=torch.float64)
    assert isinstance(tasks, QuadraticBatch)
    assert torch.equal(tasks.factor, expected.factor)
    assert torch.equal(tasks.optimum, expected.optimum)


def test_the_variants_differ_in_where_the_optimum_lies() -> None:
    """Along eigenvectors its mean square is 1 / eigenvalue in the paper's form and 1 / eigenvalue^2 in the code's."""
    settings: dict[str, float] = {"log10_smallest": -2.0, "log10_largest": -2.0}
    specs = [
        TaskSpec("linear-regression", {**settings, "variant": name}, seed) for seed in range(400) for name in ("paper",)
    ]
    paper = LinearRegression(**settings).build(specs, dtype=torch.float64)  # type: ignore[arg-type]
    code_specs = [TaskSpec("linear-regression", {**settings, "variant": "code"}, spec.seed) for spec in specs]
    code = LinearRegression(variant="code", **settings).build(code_specs, dtype=torch.float64)  # type: ignore[arg-type]
    assert paper.optimum.square().mean().item() == pytest.approx(1e2, rel=0.1)
    assert code.optimum.square().mean().item() == pytest.approx(1e4, rel=0.1)


def test_name() -> None:
    named = NAMED["linear-regression"]
    assert (named.family, named.paper, dict(named.fixed)) == ("linear-regression", "R", {})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"size": 0}, "linear-regression.size is out of range"),
        ({"rows": 4}, r"linear-regression.rows is out of range: got 4; use 5 \(linear-regression.size\) or more"),
        ({"rows": 8, "variant": "code"}, "no rows in the variant 'code'"),
        ({"log10_smallest": 1.0}, "eigenvalue range of linear-regression"),
        ({"variant": "text"}, "unknown variant of linear-regression"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LinearRegression(**bad)
