from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.logistic_regression import NAMED, LogisticRegression
from rayl2o.tasks.analytic.tabular import load_table
from rayl2o.tasks.base import TaskBatch
from rayl2o.tasks.settings import from_settings


def build(k: int, family: LogisticRegression) -> TaskBatch:
    return family.build([family.sample(torch.Generator())] * k, dtype=torch.float64)


@pytest.mark.parametrize(("batch_size", "split"), [(0, "all"), (16, "train")])
def test_it_is_cross_entropy_plus_the_penalty(batch_size: int, split: str) -> None:
    family = LogisticRegression(data="wine", batch_size=batch_size, l2=0.5, init_std=0.3, split=split)
    tasks = build(3, family)
    x, batch = tasks.init_params([1, 2, 3]), tasks.draw_batch([4, 5, 6])
    assert (batch is None) == (batch_size == 0)
    data = load_table("wine", split, dtype=torch.float64)
    losses, grads = tasks.loss_and_grad(x, batch)
    for k in range(3):
        rows = slice(None) if batch is None else batch.rows()[k]
        params = x[k].clone().requires_grad_()
        weight, bias = family.layout.unflatten(params).values()
        entropy = torch.nn.functional.cross_entropy(data.inputs[rows] @ weight + bias, data.labels[rows])
        expected = entropy + 0.25 * weight.square().sum()
        torch.testing.assert_close(losses[k], expected.detach())
        torch.testing.assert_close(grads[k], torch.autograd.grad(expected, params)[0])


def test_gradient_vanishes_where_scikit_learn_ends() -> None:
    from sklearn.linear_model import LogisticRegression as Solver

    family = LogisticRegression(data="iris", l2=1e-2)
    data = load_table("iris", dtype=torch.float64)
    solver = Solver(C=1 / (1e-2 * 150), tol=1e-10, max_iter=5000).fit(data.inputs.numpy(), data.labels.numpy())
    params = torch.from_numpy(np.concatenate([solver.coef_.T.ravel(), solver.intercept_])).unsqueeze(0)
    _, grad = build(1, family).loss_and_grad(params, None)
    assert grad.abs().max() < 1e-6


def test_full_batch_learns_the_same_from_every_start() -> None:
    tasks = build(2, LogisticRegression())
    x = tasks.init_params([0, 1])
    for _ in range(300):
        x = x - 0.5 * tasks.loss_and_grad(x, None)[1]
    assert tasks.loss(x, None).max() < 0.1
    torch.testing.assert_close(tasks.loss(x, None)[0], tasks.loss(x, None)[1], rtol=1e-3, atol=0)


def test_without_penalty_there_is_no_term() -> None:
    tasks = build(1, LogisticRegression(data="iris", l2=0.0))
    zero = torch.zeros(1, 15, dtype=torch.float64)
    far = 1e3 * torch.ones(1, 15, dtype=torch.float64)  # all classes alike: the softmax does not see it
    torch.testing.assert_close(tasks.loss(far, None), tasks.loss(zero, None))


def test_names() -> None:
    sizes = {name: from_settings(LogisticRegression, named.fixed, name).layout.size for name, named in NAMED.items()}
    assert sizes == {
        "logistic-regression-breast-cancer": 62,
        "logistic-regression-iris": 15,
        "logistic-regression-wine": 42,
    }


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "titanic"}, "unknown table"),
        ({"batch_size": -1}, "logistic-regression.batch_size"),
        ({"l2": -1.0}, "logistic-regression.l2"),
        ({"init_std": float("nan")}, "logistic-regression.init_std"),
        ({"split": "valid"}, "unknown split"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LogisticRegression(**bad)
