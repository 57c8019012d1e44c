from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.composite import CompositeBatch
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.analytic.rastrigin import NAMED, Rastrigin
from rayl2o.tasks.analytic.terms import Waves
from rayl2o.tasks.settings import from_settings


def build(k: int, family: Rastrigin) -> tuple[CompositeBatch, LeastSquaresBatch, Waves]:
    rng = torch.Generator().manual_seed(0)
    tasks = family.build([family.sample(rng) for _ in range(k)], dtype=torch.float64)
    assert isinstance(tasks.base, LeastSquaresBatch)
    assert isinstance(tasks.term, Waves)
    return tasks, tasks.base, tasks.term


def test_p1_is_the_paper_s_formula() -> None:
    """|Ax + b|^2 + 0.5 c'cos(x)."""
    tasks, bowl, waves = build(3, Rastrigin())
    x = tasks.init_params([1, 2, 3])
    assert x.shape == (3, 10)
    for k in range(3):
        a, b, c = bowl.matrix[k], -bowl.target[k], 2 * waves.height[k]
        expected = (a @ x[k] + b).square().sum() + 0.5 * c @ torch.cos(x[k])
        torch.testing.assert_close(tasks.loss(x, None)[k], expected)


def test_p1_code_is_the_code_s_formula() -> None:
    """1/2 |Ax - b|^2 - 10 c'cos(2 pi x) + 10 n."""
    tasks, bowl, waves = build(3, Rastrigin(variant="code"))
    x = tasks.init_params([1, 2, 3])
    assert x.shape == (3, 2)
    for k in range(3):
        a, b, c = bowl.matrix[k], bowl.target[k], -waves.height[k] / 10
        expected = (a @ x[k] - b).square().sum() / 2 - 10 * c @ torch.cos(2 * math.pi * x[k]) + 20
        torch.testing.assert_close(tasks.loss(x, None)[k], expected)


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_all_of_it_is_normal(variant: str) -> None:
    tasks, bowl, waves = build(300, Rastrigin(size=4, variant=variant))
    heights = waves.height / (0.5 if variant == "paper" else -10)
    for values in (bowl.matrix, bowl.target, heights, tasks.init_params(range(300))):
        assert abs(values.mean()) < 0.1
        assert abs(values.std() - 1) < 0.06


def test_the_code_s_form_has_many_minima_and_the_paper_s_few() -> None:
    """Gradient descent from 40 starts on one problem: how many different places does it end in?"""
    ends = {}
    for variant, rate in (("paper", 5e-2), ("code", 5e-4)):
        family = Rastrigin(size=2, variant=variant)
        tasks = family.build([family.sample(torch.Generator().manual_seed(2))] * 40, dtype=torch.float64)
        x = 3 * tasks.init_params(range(40))
        for _ in range(3000):
            x = x - rate * tasks.loss_and_grad(x, None)[1]
        ends[variant] = len({tuple(round(value, 1) + 0.0 for value in row) for row in x.tolist()})
    assert ends["paper"] <= 3
    assert ends["code"] >= 10


def test_names() -> None:
    sizes = {name: from_settings(Rastrigin, named.fixed, name).layout.size for name, named in NAMED.items()}
    assert sizes == {"p1": 10, "p1-code": 2}
    assert {named.paper for named in NAMED.values()} == {"S"}


@pytest.mark.parametrize("bad", [{"size": -1}, {"variant": "torch"}])
def test_bad_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="rastrigin"):
        Rastrigin(**bad)
