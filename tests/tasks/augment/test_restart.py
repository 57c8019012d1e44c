from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Inputs
from rayl2o.rules.classic import Adam, Classic, Momentum, Sgd
from rayl2o.seeds import derive_seed
from rayl2o.tasks.augment.restart import OPTIMIZERS, Restart
from rayl2o.tasks.augment.scaling import Scaling
from rayl2o.tasks.base import TaskBatch
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, pair

RULES: dict[str, Classic] = {"sgd": Sgd(lr=0.1), "momentum": Momentum(lr=0.1), "adam": Adam(lr=0.1)}
"""Another implementation of what ``torch.optim`` does."""


def walk(task: TaskBatch, seed: int, steps: int, rule: Classic) -> Tensor:
    """Params after each of 0..steps steps of a rule, ``[steps + 1, D]``."""
    x = task.init_params([seed])
    state, points = rule.init_state({}, task.layout, 1, torch.float64), [x]
    for step in range(steps):
        batch = task.draw_batch([derive_seed("restart", "batch", seed, step)])
        grad = task.loss_and_grad(x, batch)[1]
        delta, state = rule.update({}, Inputs(grad, torch.tensor(float(step))), state)
        x = x + delta
        points.append(x)
    return torch.cat(points)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_start_lies_on_the_path_of_the_optimizer(optimizer: str) -> None:
    found = pair(NETWORK, Restart(steps=9, optimizer=optimizer, lr=0.1), k=1)
    made = set()
    for seed in range(20):
        path = walk(found.plain, seed, 9, RULES[optimizer])
        distance = (path - found.augmented.init_params([seed])).norm(dim=1)
        made.add(int(distance.argmin()))
        assert distance.min() < 1e-9
    assert len(made) >= 6  # of the ten lengths, all equally likely


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_starts_are_trained_and_the_loss_is_unchanged(optimizer: str) -> None:
    found = pair(QUADRATIC, Restart(steps=60, optimizer=optimizer, lr=0.1), k=8)
    fresh, trained = (tasks.init_params(range(8)) for tasks in (found.plain, found.augmented))
    assert found.plain.loss(trained, None).mean() < 0.7 * found.plain.loss(fresh, None).mean()
    x = found.point("x")
    for one, two in zip(found.augmented.loss_and_grad(x, None), found.plain.loss_and_grad(x, None), strict=True):
        assert torch.equal(one, two)
    assert not trained.requires_grad


def test_a_start_has_the_same_bits_whatever_is_beside_it() -> None:
    found = pair(NETWORK, Restart(steps=5))
    together = found.augmented.init_params([1, 2, 3])
    for k in range(3):
        alone = found.family.build(found.specs[k : k + 1], dtype=torch.float64)
        assert torch.equal(alone.init_params([k + 1]), together[k : k + 1])
    same = found.family.build([found.specs[0]] * 3, dtype=torch.float64).init_params([4, 5, 4])
    assert torch.equal(same[0], same[2])
    assert not torch.equal(same[0], same[1])


def test_float32_starts_are_the_same_up_to_rounding() -> None:
    one, two = (
        pair(NETWORK, Restart(steps=20), dtype=dtype).augmented.init_params([1, 2, 3])
        for dtype in (torch.float32, torch.float64)
    )
    torch.testing.assert_close(one.double(), two, rtol=1e-3, atol=1e-4)


def test_no_steps_is_the_fresh_start() -> None:
    found = pair(QUADRATIC, Restart(steps=0))
    assert torch.equal(found.augmented.init_params([1, 2, 3]), found.plain.init_params([1, 2, 3]))


def test_a_diverging_optimizer_leaves_the_last_sound_point() -> None:
    found = pair(QUADRATIC, Restart(steps=2000, optimizer="sgd", lr=1e3))
    x = found.augmented.init_params([1, 2, 3])
    loss, grad = found.augmented.loss_and_grad(x, None)
    assert torch.isfinite(x).all()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(grad).all()


def test_it_trains_in_the_coordinates_that_it_is_given() -> None:
    """After a scaling, gradient descent moves in the scaled coordinates."""
    found = pair(QUADRATIC, Scaling(-1.0, 1.0), Restart(steps=1, optimizer="sgd", lr=0.1), k=1)
    scaled = pair(QUADRATIC, Scaling(-1.0, 1.0), k=1)
    points = {0: 0, 1: 0}
    for seed in range(8):
        distance = (walk(scaled.augmented, seed, 1, RULES["sgd"]) - found.augmented.init_params([seed])).norm(dim=1)
        assert distance.min() < 1e-12
        points[int(distance.argmin())] += 1
    assert min(points.values()) > 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"optimizer": "adams"}, "did you mean 'adam'"),
        ({"steps": -1}, "use 0 or more"),
        ({"lr": 0.0}, "use a finite number above 0"),
        ({"lr": math.inf}, "use a finite number above 0"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Restart(**bad)
    assert message in str(caught.value)
