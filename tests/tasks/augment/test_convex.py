from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.augment.convex import Convex, ConvexBatch
from rayl2o.tasks.base import TaskBatch
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, pair


def bowl(tasks: TaskBatch) -> ConvexBatch:
    assert isinstance(tasks, ConvexBatch)
    return tasks


def test_coordinates_are_added_as_one_tensor() -> None:
    found = pair(NETWORK, Convex())
    layout = found.augmented.layout
    assert layout == found.family.layout
    assert layout.size == NETWORK.layout.size + 20
    assert layout.names[-1] == "convex"
    assert layout.shapes[-1] == (20,)
    twice = pair(QUADRATIC, Convex(size=2), Convex(size=3), Convex(size=4)).augmented.layout
    assert twice.names == ("x", "convex", "convex_2", "convex_3")
    assert twice.sizes == (6, 2, 3, 4)


def test_it_is_the_sum_of_the_task_and_a_mean_square_distance() -> None:
    found = pair(NETWORK, Convex(size=5, weight=0.5))
    p, v = found.point("p"), found.point("v")
    (x, z), along = (p[:, :-5], p[:, -5:]), v[:, -5:]
    batch = found.plain.draw_batch([1, 2, 3])
    loss, grad = found.augmented.loss_and_grad(p, batch)
    expected, inner = found.plain.loss_and_grad(x, batch)
    gap = z - bowl(found.augmented).centre
    torch.testing.assert_close(loss, expected + 0.5 * gap.square().mean(1))
    torch.testing.assert_close(grad, torch.cat((inner, 0.2 * gap), dim=1))
    product = torch.cat((found.plain.hvp(x, batch, v[:, :-5]), 0.2 * along), dim=1)
    torch.testing.assert_close(found.augmented.hvp(p, batch, v), product)


def test_centres_are_of_the_task_and_starts_of_the_initialisation() -> None:
    found = pair(QUADRATIC, Convex(size=500))
    centre = bowl(found.augmented).centre
    starts = [found.augmented.init_params(seeds)[:, -500:] for seeds in ([1, 1, 2], [3, 4, 5])]
    assert torch.equal(starts[0][0], starts[0][1])
    for drawn in (centre, *starts):
        assert drawn.abs().max() <= 1
        assert abs(drawn.std() - 1 / math.sqrt(3)) < 0.03
        assert abs(drawn.mean()) < 0.06
    assert abs(torch.corrcoef(torch.stack((centre[0], centre[1], starts[0][0], starts[0][2])))[0, 1:]).max() < 0.15
    first = found.augmented.init_params([1, 2, 3])[:, :6]
    assert torch.equal(first, found.plain.init_params([1, 2, 3]))


def test_the_minimum_is_at_the_centre() -> None:
    found = pair(QUADRATIC, Convex(size=4, scaling=1.0))
    optimum = found.plain.optimum  # type: ignore[attr-defined]
    inside = bowl(found.augmented)
    p = torch.cat((optimum, inside.centre / inside.factor), dim=1)
    loss, grad = found.augmented.loss_and_grad(p, None)
    torch.testing.assert_close(loss, torch.zeros(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(grad, torch.zeros(3, 10).double(), atol=1e-12, rtol=0)


def authors_code(y: Tensor, a: Tensor, coe: Tensor) -> Tensor:
    """``tf.reduce_mean(tf.clip_by_value(tf.square(x - a), 0, 10))`` at x = y * coe."""
    return torch.clip(torch.square(y * coe - a), 0, 10).mean(1)


def test_the_variant_of_the_code() -> None:
    found = pair(QUADRATIC, Convex(variant="code", scaling=1.0))
    term, p, v = bowl(found.augmented), 6 * found.point("p"), found.point("v")
    start = found.augmented.init_params([1, 2, 3])
    assert torch.equal(start[:, 6:], torch.zeros(3, 20).double())
    assert term.factor.log().abs().max() <= 1
    assert term.factor.log().abs().max() > 0.8
    y = p[:, 6:].clone().requires_grad_()
    value = authors_code(y, term.centre, term.factor)
    (slope,) = torch.autograd.grad(value.sum(), y, create_graph=True)
    (product,) = torch.autograd.grad(slope, y, v[:, 6:])
    beyond = (slope == 0).double().mean()
    assert 0.1 < beyond < 0.9  # some coordinates are where the code cuts
    loss, grad = found.augmented.loss_and_grad(p, None)
    torch.testing.assert_close(loss, found.plain.loss(p[:, :6], None) + value.detach())
    torch.testing.assert_close(grad[:, 6:], slope.detach())
    torch.testing.assert_close(found.augmented.hvp(p, None, v)[:, 6:], product)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"variant": "papers"}, "did you mean 'paper'"),
        ({"size": 0}, "use 1 or more"),
        ({"weight": 0.0}, "use a number in (0, 1e12]"),
        ({"weight": math.nan}, "weight of the convex term out of range"),
        ({"scaling": -1.0}, "use a number in 0..30"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Convex(**bad)
    assert message in str(caught.value)
