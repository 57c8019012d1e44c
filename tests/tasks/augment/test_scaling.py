from __future__ import annotations

import math

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.augment.scaling import Scaling
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, Pair, pair


def factors(found: Pair) -> torch.Tensor:
    """s = x0 / y0."""
    seeds = range(found.plain.k)
    return found.plain.init_params(seeds) / found.augmented.init_params(seeds)


def test_x_is_s_times_y() -> None:
    found = pair(NETWORK, Scaling())
    s, y, v = factors(found), found.point("y", 0.1), found.point("v")
    batch = found.plain.draw_batch([7, 8, 9])
    loss, grad = found.augmented.loss_and_grad(y, batch)
    expected, inner = found.plain.loss_and_grad(s * y, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(grad, s * inner, rtol=1e-5, atol=1e-6)
    product = s * found.plain.hvp(s * y, batch, s * v)
    torch.testing.assert_close(found.augmented.hvp(y, batch, v), product, rtol=1e-5, atol=1e-5)


def test_the_loss_begins_where_it_would() -> None:
    found = pair(NETWORK, Scaling(), dtype=torch.float32)
    batch = found.plain.draw_batch([1, 2, 3])
    ours, theirs = (tasks.loss(tasks.init_params([4, 5, 6]), batch) for tasks in (found.augmented, found.plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_factors_are_log_uniform_and_each_coordinate_has_its_own() -> None:
    logs = factors(pair(NETWORK, Scaling(), k=10)).log()
    assert logs.min() > -3 - 1e-6
    assert logs.max() < 3 + 1e-6
    assert len(set(logs[0].tolist())) == logs.shape[1]
    quartiles = torch.quantile(logs.flatten(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quartiles, torch.tensor([-1.5, 0.0, 1.5]).double(), atol=0.15, rtol=0)


def test_factors_belong_to_the_task_not_to_the_initialisation() -> None:
    found = pair(QUADRATIC, Scaling())
    one, two = (found.plain.init_params(s) / found.augmented.init_params(s) for s in ([1, 2, 3], [4, 5, 6]))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=0)
    assert (one[0] - one[1]).abs().min() > 1e-3


def test_a_range_of_one_point_is_that_factor() -> None:
    half = math.log(0.5)
    torch.testing.assert_close(
        factors(pair(QUADRATIC, Scaling(half, half))),
        torch.full((3, 6), 0.5, dtype=torch.float64),
        rtol=1e-6,
        atol=0,
    )


@pytest.mark.parametrize("bad", [(1.0, 0.0), (-31.0, 0.0), (0.0, 31.0), (math.nan, 1.0)])
def test_bad_settings(bad: tuple[float, float]) -> None:
    with pytest.raises(UserError, match=r"within -30\.\.30"):
        Scaling(*bad)
