from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.rosenbrock import NAMED, Rosenbrock, RosenbrockBatch


def build(k: int, pairs: int = 1) -> RosenbrockBatch:
    family = Rosenbrock(pairs)
    return family.build([family.sample(torch.Generator())] * k, dtype=torch.float64)


def test_known_values() -> None:
    tasks = build(3)
    x = torch.tensor([[0.0, 0.0], [-1.0, 1.0], [1.2, 0.5]], dtype=torch.float64)
    loss, grad = tasks.loss_and_grad(x, None)
    torch.testing.assert_close(loss, torch.tensor([1.0, 4.0, 0.04 + 100 * 0.94**2]).double())
    torch.testing.assert_close(grad[:2], torch.tensor([[-2.0, 0.0], [-4.0, 0.0]]).double())


def test_the_optimum() -> None:
    tasks = build(1, pairs=3)
    loss, grad = tasks.loss_and_grad(tasks.optimum, None)
    assert loss.item() == 0
    assert torch.equal(grad, torch.zeros(1, 6, dtype=torch.float64))
    rows = torch.cat([tasks.hvp(tasks.optimum, None, row.unsqueeze(0)) for row in torch.eye(6).double()])
    block = torch.tensor([[802.0, -400.0], [-400.0, 200.0]]).double()
    torch.testing.assert_close(rows, torch.block_diag(block, block, block))  # type: ignore[no-untyped-call]


def test_pairs_are_functions_of_their_own() -> None:
    one, many = build(1), build(1, pairs=4)
    x = many.init_params([3])
    pairs = x.reshape(4, 2)
    torch.testing.assert_close(many.loss(x, None), sum(one.loss(pair.unsqueeze(0), None) for pair in pairs))
    grads = torch.cat([one.loss_and_grad(pair.unsqueeze(0), None)[1] for pair in pairs])
    torch.testing.assert_close(many.loss_and_grad(x, None)[1].reshape(4, 2), grads)


def test_starts_fill_the_box_of_the_paper() -> None:
    x = build(2000).init_params(range(2000))
    low, high = torch.tensor([-2.0, -1.0]).double(), torch.tensor([2.0, 3.0]).double()
    assert (x >= low).all()
    assert (x < high).all()
    torch.testing.assert_close(x.mean(0), torch.tensor([0.0, 1.0]).double(), atol=0.1, rtol=0)
    torch.testing.assert_close(x.std(0), torch.full((2,), 4 / 12**0.5).double(), atol=0.05, rtol=0)


def test_names_and_bad_settings() -> None:
    assert NAMED["rosenbrock"].paper == "R"
    with pytest.raises(UserError, match=r"rosenbrock\.pairs is out of range: got 0; use a number of 1 or more"):
        Rosenbrock(0)
