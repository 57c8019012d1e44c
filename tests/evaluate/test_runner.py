"""Runs: pairing, divergence, marks, order."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.evaluate.runner import (
    Contender,
    Curves,
    evaluate,
    log_loss,
    marks,
    mean_loss,
    run,
    runs,
)
from rayl2o.rules.classic import Adam, Sgd
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.networks.mlp import MLP
from tests.evaluate.examples import Shifted

FAMILY = Quadratic(3, -1.0, 0.0)


def _curves(loss: np.ndarray) -> Curves:
    return Curves(loss, ("ok",) * len(loss), np.full(len(loss), loss.shape[1]))


def test_two_rules_get_the_same_tasks_starts_and_batches() -> None:
    seen = []
    for rule in (Sgd(0.1), Adam(0.5, beta1=0.2)):
        family = Shifted()
        run(rule, {}, family, [4, 9], 5)
        seen.append(family.seen)
    assert seen[0] == seen[1]
    assert [purpose for purpose, _ in seen[0]] == ["task"] * 2 + ["init"] + ["batch"] * 5
    batches = [seeds for purpose, seeds in seen[0] if purpose == "batch"]
    assert len({seed for seeds in batches for seed in seeds}) == 10, "a batch of its own for every seed and step"


def test_a_seed_stands_for_the_same_run_in_any_company() -> None:
    together = run(Adam(0.1), {}, FAMILY, [7, 3, 5], 30, dtype=torch.float64)
    alone = run(Adam(0.1), {}, FAMILY, [5], 30, dtype=torch.float64)
    np.testing.assert_allclose(together.loss[2], alone.loss[0], rtol=1e-12)
    assert not np.allclose(together.loss[0], together.loss[1])


def test_losses_are_those_of_gradient_descent() -> None:
    # Curvature 1: |x| shrinks by 1 - lr each step, so the loss by its square.
    curves = run(Sgd(0.25), {}, Shifted(), [1, 2], 6, dtype=torch.float64)
    np.testing.assert_allclose(curves.loss[:, 1:] / curves.loss[:, :-1], 0.75**2, rtol=1e-9)
    assert curves.status == ("ok", "ok")
    assert curves.valid.tolist() == [6, 6]


def test_divergence_is_a_status_and_costs_ten_first_losses_or_the_last_one() -> None:
    curves = run(Sgd(4.0), {}, Shifted(), [1, 2], 12, dtype=torch.float64, loss_cap=1e4)
    growth = 9.0 ** np.arange(12)[None] * curves.loss[:, :1]
    for loss, expected, valid, status in zip(curves.loss, growth, curves.valid, curves.status, strict=True):
        assert status == "diverged"
        assert valid == (expected <= 1e4).sum() < 12
        np.testing.assert_allclose(loss[:valid], expected[:valid])
        np.testing.assert_allclose(loss[valid:], max(10 * loss[0], loss[valid - 1]))
    assert np.isfinite(mean_loss(curves)).all()


def test_overflow_to_nan_is_divergence_too() -> None:
    curves = run(Sgd(1e30), {}, Shifted(), [1], 8)
    assert curves.status == ("diverged",)
    assert curves.valid.tolist() == [1]
    assert np.isfinite(curves.loss).all()


def test_a_first_loss_that_is_not_finite_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="not finite at the first step"):
        run(Sgd(0.1), {}, Shifted(shift=math.nan), [1, 2], 4)


def test_a_run_needs_seeds_and_steps() -> None:
    for seeds, steps in (([], 5), ([1], 0)):
        with pytest.raises(ValueError, match="at least one seed and one step"):
            run(Sgd(0.1), {}, FAMILY, seeds, steps)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (7, (7,)),
        (20, (20,)),
        (99, (20, 99)),
        (500, (20, 100, 200, 500)),
        (1000, (20, 100, 200, 500, 1000)),
        (3000, (20, 100, 200, 500, 1000, 2000, 3000)),
        (10_000, (20, 100, 200, 500, 1000, 2000, 5000, 10_000)),
    ],
)
def test_marks(steps: int, expected: tuple[int, ...]) -> None:
    assert marks(steps) == expected


def test_log_loss_is_the_log_of_the_mean_of_the_last_twenty_losses_before_the_mark() -> None:
    loss = np.arange(1.0, 121.0)[None] * np.array([[1.0], [2.0]])
    curves = _curves(loss)
    np.testing.assert_allclose(log_loss(curves, 100), np.log([90.5, 181.0]))  # losses 81..100
    np.testing.assert_allclose(log_loss(curves, 20), np.log([10.5, 21.0]))
    np.testing.assert_allclose(log_loss(curves, 5), np.log([3.0, 6.0]))
    np.testing.assert_allclose(mean_loss(curves), [60.5, 121.0])
    for mark in (0, 121):
        with pytest.raises(ValueError, match="outside the horizon"):
            log_loss(curves, mark)


def test_log_loss_of_a_solved_task_is_finite() -> None:
    assert log_loss(_curves(np.zeros((1, 30))), 20)[0] == pytest.approx(-87.3, abs=0.1)


def test_results_come_task_by_task_contender_by_contender_seed_by_seed() -> None:
    families: dict[str, TaskFamily] = {"a": FAMILY, "b": Shifted()}
    contenders = [Contender("sgd", Sgd(0.1)), Contender("fast", Sgd(0.9), kind="learned")]
    found = evaluate(contenders, families, [5, 3], 40)
    assert [(r.task, r.rule, r.seed) for r in found] == [
        (task, rule, seed) for task in "ab" for rule in ("sgd", "fast") for seed in (5, 3)
    ]
    row = json.loads(json.dumps(found[0].to_json()))
    assert set(row) == {"rule", "task", "seed", "log_loss", "mean_loss", "status"}
    assert list(row["log_loss"]) == ["20", "40"]
    alone = run(Sgd(0.1), {}, FAMILY, [5], 40)
    assert row["mean_loss"] == pytest.approx(mean_loss(alone)[0], rel=1e-5)
    assert row["log_loss"]["40"] == pytest.approx(log_loss(alone, 40)[0], rel=1e-4)


def test_each_task_may_have_contenders_of_its_own() -> None:
    per_task = {"a": [Contender("x", Sgd(0.1))], "b": [Contender("y", Sgd(0.2)), Contender("z", Sgd(0.3))]}
    found = list(runs(per_task, {"a": FAMILY, "b": FAMILY}, [1], 5))
    assert [(r.task, r.rule) for r in found] == [("a", "x"), ("b", "y"), ("b", "z")]


def test_runs_are_made_lazily() -> None:
    family = Shifted()
    pending = runs([Contender("x", Sgd(0.1)), Contender("y", Sgd(0.1))], {"a": family}, [1], 5)
    assert not family.seen
    next(pending)
    assert sum(purpose == "init" for purpose, _ in family.seen) == 1


def test_labels_and_kinds_are_checked() -> None:
    with pytest.raises(ValueError, match="labels"):
        list(runs([Contender("x", Sgd(0.1))] * 2, {"a": FAMILY}, [1], 5))
    with pytest.raises(ValueError, match="kind"):
        Contender("x", Sgd(0.1), kind="handmade")


def test_on_real_digits_adam_learns() -> None:
    curves = run(Adam(0.03), {}, MLP(), [0, 1], 100)
    assert curves.loss[:, 0] == pytest.approx(math.log(10), abs=0.1)
    assert (log_loss(curves, 100) < math.log(0.6)).all()
