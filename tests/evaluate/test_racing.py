"""Racing: scores are those of plain runs, and dropping what cannot win changes nothing but the work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.evaluate import racing
from rayl2o.evaluate.racing import Track, race
from rayl2o.evaluate.runner import mean_loss, run
from rayl2o.rules.classic import Adam, Momentum, Sgd
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.networks.mlp import MLP
from tests.evaluate.examples import Shifted

TRACK = Track(Quadratic(4, -2.0, 0.0), (11, 12, 13), 200, torch.float64)
LRS = np.geomspace(1e-3, 100, 24)


def test_scores_are_the_mean_losses_of_plain_runs_divergence_included() -> None:
    values = {"lr": LRS, "momentum": np.linspace(0.0, 0.99, 24)}
    finishes = race(Momentum, values, TRACK, prune=False)
    assert any(f.diverged for f in finishes)
    assert not all(f.diverged for f in finishes)
    for i, finish in enumerate(finishes):
        rule = Momentum(float(values["lr"][i]), float(values["momentum"][i]))
        curves = run(rule, {}, TRACK.family, TRACK.seeds, TRACK.steps, dtype=torch.float64)
        assert finish.score == pytest.approx(mean_loss(curves).mean(), rel=1e-9)
        assert finish.diverged == ("diverged" in curves.status)
        assert finish.steps == TRACK.steps


def test_dropping_keeps_the_winner_and_its_score_and_saves_work() -> None:
    full = race(Sgd, {"lr": LRS}, TRACK, prune=False)
    raced = race(Sgd, {"lr": LRS}, TRACK)
    complete = [i for i, f in enumerate(raced) if f.steps == TRACK.steps]
    winner = min(range(len(full)), key=lambda i: full[i].score)
    assert min(complete, key=lambda i: raced[i].score) == winner
    assert raced[winner].score == pytest.approx(full[winner].score, rel=1e-9)
    assert sum(f.steps for f in raced) < 0.6 * sum(f.steps for f in full)
    for dropped, whole in zip(raced, full, strict=True):
        if dropped.steps < TRACK.steps:
            assert full[winner].score < dropped.score <= whole.score * (1 + 1e-9), "a lower bound above the winner"


def test_on_a_classifier_too() -> None:
    track = Track(MLP(), (1, 2), 60)
    values = {"lr": np.geomspace(1e-3, 1.0, 8), "beta1": np.full(8, 0.8)}
    full, raced = race(Adam, values, track, prune=False), race(Adam, values, track)
    winner = min(range(8), key=lambda i: full[i].score)
    assert raced[winner].score == pytest.approx(full[winner].score, rel=1e-4)
    assert raced[winner].steps == 60


def test_a_bound_drops_everything_that_is_worse() -> None:
    full = race(Sgd, {"lr": LRS}, TRACK, prune=False)
    bound = sorted(f.score for f in full)[1]
    raced = race(Sgd, {"lr": LRS}, TRACK, bound=bound * (1 + 1e-9))
    assert {i for i, f in enumerate(raced) if f.steps == TRACK.steps} <= {
        i for i, f in enumerate(full) if f.score <= bound * (1 + 1e-6)
    }
    assert min(f.score for f in raced if f.steps == TRACK.steps) == pytest.approx(min(f.score for f in full))


def test_where_losses_are_negative_nothing_is_dropped() -> None:
    track = Track(Shifted(shift=-50.0), (1, 2), 40, torch.float64)
    finishes = race(Sgd, {"lr": np.linspace(0.01, 1.0, 9)}, track)
    assert {f.steps for f in finishes} == {40}
    assert min(range(9), key=lambda i: finishes[i].score) == 8


def test_few_settings_and_short_horizons() -> None:
    for count, steps in ((1, 1), (1, 5), (2, 3), (3, 30)):
        finishes = race(Sgd, {"lr": np.full(count, 0.5)}, Track(Shifted(), (1,), steps, torch.float64))
        assert [f.steps for f in finishes] == [steps] * count
        assert len({f.score for f in finishes}) == 1


def test_halts_double_and_end_at_the_horizon() -> None:
    assert racing._halts(1000) == [20, 40, 80, 160, 320, 640, 1000]
    assert racing._halts(1) == [1]
    assert racing._halts(60) == [10, 20, 40, 60]
    assert racing._halts(10_000) == [200, 400, 800, 1600, 3200, 6400, 10_000]


def test_a_first_loss_that_is_not_finite_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="not finite at the first step"):
        race(Sgd, {"lr": LRS}, Track(Shifted(shift=float("inf")), (1,), 10))
