from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.augment.reparametrisation import MIXED, VELO_LEVELS, Reparametrisation
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, Pair, pair


def factors(found: Pair) -> Tensor:
    """The diagonal of S, where there is no Q."""
    seeds = range(found.plain.k)
    return found.plain.init_params(seeds) / found.augmented.init_params(seeds)


@pytest.mark.parametrize(("level", "different"), [("global", 1), ("tensor", 4), ("parameter", 310)])
def test_levels(level: str, different: int) -> None:
    found = factors(pair(NETWORK, Reparametrisation(level))).log()
    rounded = [len({round(value, 4) for value in row}) for row in found.tolist()]
    assert all(different * 0.98 <= count <= different for count in rounded)
    assert found.abs().max() <= math.log(100) + 1e-6
    assert (found[0] - found[1]).abs().max() > 1e-3
    if level == "tensor":
        for part in torch.split(found, list(NETWORK.layout.sizes), dim=1):
            torch.testing.assert_close(part, part[:, :1].expand(part.shape), rtol=1e-5, atol=1e-5)


def test_mixed_draws_levels_and_ranges_as_velo_does() -> None:
    found = factors(pair(NETWORK, Reparametrisation(MIXED, 1e-3, 1e3), k=300)).log()
    drawn: Counter[str] = Counter()
    widest = []
    for row in found:
        count = len({round(value, 4) for value in row.tolist()})
        level = "none" if count == 1 and row.abs().max() < 1e-5 else {1: "global", 4: "tensor"}.get(count, "parameter")
        drawn[level] += 1
        if level == "parameter":
            widest.append(float(row.abs().max()) / math.log(10))
    expected = Counter(VELO_LEVELS)
    for level, times in expected.items():
        assert abs(drawn[level] - 300 * times / 7) < 30  # 4 standard deviations at most
    assert {round(width) for width in widest} == {1, 2, 3}


def test_signs() -> None:
    found = factors(pair(NETWORK, Reparametrisation("parameter", 1.0, 1.0, signs=True)))
    torch.testing.assert_close(found.abs(), torch.ones_like(found), rtol=1e-6, atol=0)
    assert abs(found.mean()) < 0.15
    plain = factors(pair(NETWORK, Reparametrisation("parameter", 1.0, 1.0)))
    assert (plain > 0).all()


def test_signs_and_reflections_do_not_change_the_factors() -> None:
    one, two = (factors(pair(NETWORK, Reparametrisation(signs=signs))) for signs in (False, True))
    torch.testing.assert_close(one, two.abs(), rtol=1e-5, atol=0)


def test_a_rotation_keeps_lengths_in_each_tensor_and_turns_the_axes() -> None:
    found = pair(NETWORK, Reparametrisation("global", 1.0, 1.0, reflections=3))
    x, y = (tasks.init_params([1, 2, 3]) for tasks in (found.plain, found.augmented))
    sizes = list(NETWORK.layout.sizes)
    for one, two in zip(torch.split(x, sizes, dim=1), torch.split(y, sizes, dim=1), strict=True):
        torch.testing.assert_close(one.norm(dim=1), two.norm(dim=1), rtol=1e-6, atol=0)
    assert (x - y).abs().median() > 0.05


def test_the_curvature_is_turned_but_its_spectrum_stays() -> None:
    found = pair(QUADRATIC, Reparametrisation("global", 1.0, 1.0, reflections=2))

    def hessian(tasks: Any) -> Tensor:
        eye = torch.eye(6, dtype=torch.float64)
        return torch.stack([tasks.hvp(torch.zeros(3, 6).double(), None, eye[i].expand(3, 6)) for i in range(6)], dim=2)

    ours, theirs = hessian(found.augmented), hessian(found.plain)
    torch.testing.assert_close(torch.linalg.eigvalsh(ours), torch.linalg.eigvalsh(theirs))
    assert (ours - theirs).abs().max() > 0.05
    torch.testing.assert_close(ours, ours.mT)


def test_units_are_turned_too() -> None:
    """S stands outside Q: with Q inside the task's own coordinates, its diagonal could be undone coordinate by coordinate."""
    found = pair(QUADRATIC, Reparametrisation("parameter", 0.01, 100.0, reflections=1))
    eye = torch.eye(6, dtype=torch.float64)
    slopes = [found.augmented.loss_and_grad(eye[i].expand(3, 6), None)[1] for i in range(6)]
    origin = found.augmented.loss_and_grad(torch.zeros(3, 6).double(), None)[1]
    hessian = torch.stack([slope - origin for slope in slopes], dim=2)
    scale = hessian.diagonal(dim1=1, dim2=2).sqrt()
    correlation = hessian / (scale.unsqueeze(1) * scale.unsqueeze(2))
    assert torch.linalg.cond(correlation).min() > 100  # Jacobi's preconditioner does not help


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"level": "layer"}, "unknown level of a reparametrisation"),
        ({"smallest": 0.0}, "use smallest <= largest, both within 1e-12..1e"),
        ({"smallest": 2.0, "largest": 1.0}, "range of the reparametrisation is bad"),
        ({"largest": math.inf}, "range of the reparametrisation is bad"),
        ({"reflections": -1}, "use 0..64"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Reparametrisation(**bad)
    assert message in str(caught.value)
