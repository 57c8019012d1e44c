"""Tuning: a known optimum is found, an edge makes the range grow, seeds are kept apart, nothing depends on luck."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.evaluate.runner import mean_loss, run
from rayl2o.evaluate.search_space import SPACES, Range, Space
from rayl2o.evaluate.tuning import EXTENSIONS, TuningJob, tune, tune_all
from rayl2o.rules.classic import Adam, Sgd
from rayl2o.tasks.analytic.quadratic import Quadratic
from tests.evaluate.examples import Shifted

SEEDS, SCORING = (101, 102, 103), tuple(range(10))
INSIDE = Space("sgd", {"lr": Range(1e-3, 100.0)}, Sgd)


def test_a_known_optimum_is_found() -> None:
    # Curvature 1: the loss falls by (1 - lr)^2 a step, so lr = 1 is best and only the first loss remains.
    family = Shifted()
    tuned = tune(INSIDE, family, SEEDS, 50, scoring_seeds=SCORING, task="bowl", dtype=torch.float64)
    first = run(Sgd(1.0), {}, family, SEEDS, 50, dtype=torch.float64).loss[:, 0].mean()
    assert 0.75 < tuned.values["lr"] < 1.25
    assert tuned.score <= first / 50 * 1.07
    assert len(tuned.draws) == 40
    assert (tuned.extended, tuned.on_edge, tuned.status) == (0, (), "ok")
    assert tuned.ranges == {"lr": (1e-3, 100.0)}
    assert tuned.label == f"sgd:lr={tuned.values['lr']:g}"
    assert tuned.rule == Sgd(tuned.values["lr"])


def test_the_score_is_that_of_the_rule_with_plain_floats() -> None:
    family = Quadratic(4, -2.0, 0.0)
    tuned = tune(SPACES["adam"], family, SEEDS, 60, scoring_seeds=SCORING, draws=16)
    again = mean_loss(run(tuned.rule, {}, family, SEEDS, 60)).mean()
    assert isinstance(tuned.rule, Adam)
    assert isinstance(tuned.rule.lr, float)
    assert tuned.score == pytest.approx(again, rel=1e-4)


@pytest.mark.parametrize(("low", "high", "grown"), [(2e-3, 0.2, 1), (2e-4, 2e-2, 2), (1.6, 16.0, 1)])
def test_an_optimum_at_the_edge_makes_the_range_grow(low: float, high: float, grown: int) -> None:
    space = Space("sgd", {"lr": Range(low, high)}, Sgd)
    tuned = tune(space, Shifted(), SEEDS, 50, scoring_seeds=SCORING, dtype=torch.float64)
    assert 0.5 < tuned.values["lr"] < 1.5
    assert tuned.extended == grown
    assert tuned.on_edge == ()
    assert len(tuned.draws) == 40 * (grown + 1)
    assert tuned.ranges["lr"][0] < tuned.values["lr"] < tuned.ranges["lr"][1]


def test_growth_is_bounded_and_an_optimum_still_at_the_edge_is_said() -> None:
    space = Space("sgd", {"lr": Range(1e-7, 1e-6)}, Sgd)
    tuned = tune(space, Shifted(), SEEDS, 20, scoring_seeds=SCORING, draws=30, dtype=torch.float64)
    assert tuned.extended == EXTENSIONS
    assert tuned.on_edge == ("lr",)
    assert tuned.ranges["lr"] == pytest.approx((1e-7, 1e-6 * 10**EXTENSIONS))


def test_early_rejection_does_not_change_the_winner() -> None:
    family = Quadratic(4, -2.0, 0.0)
    fast, full = (
        tune(SPACES["momentum"], family, SEEDS, 100, scoring_seeds=SCORING, prune=prune, dtype=torch.float64)
        for prune in (True, False)
    )
    assert (fast.label, fast.extended, fast.on_edge) == (full.label, full.extended, full.on_edge)
    assert fast.score == pytest.approx(full.score, rel=1e-9)
    assert [d.values for d in fast.draws] == [d.values for d in full.draws]
    assert fast.inner_steps < full.inner_steps == len(full.draws) * 3 * 100


def test_draws_are_random_by_seed_and_even_in_every_margin() -> None:
    def draws(seed: int) -> np.ndarray:
        tuned = tune(INSIDE, Shifted(), SEEDS, 5, scoring_seeds=SCORING, draws=50, seed=seed)
        return np.array([d.values["lr"] for d in tuned.draws])

    one, same, other = draws(0), draws(0), draws(1)
    assert (one == same).all()
    assert not (one == other).any()
    per_decade = np.histogram(np.log10(one), bins=[-3, -2, -1, 0, 1, 2])[0]
    assert per_decade == pytest.approx(10, abs=1)


def test_where_every_draw_diverges_it_is_said() -> None:
    space = Space("sgd", {"lr": Range(1e20, 1e21, ceiling=1e21)}, Sgd)
    tuned = tune(space, Shifted(), SEEDS, 20, scoring_seeds=SCORING, draws=4)
    assert tuned.status == "diverged"
    assert {d.status for d in tuned.draws} == {"diverged"}


def test_tuning_seeds_must_not_be_scoring_seeds() -> None:
    with pytest.raises(UserError, match=r"scoring seeds: got \[9\]"):
        tune(INSIDE, Shifted(), (9, 10, 11), 20, scoring_seeds=SCORING)


def test_at_least_one_draw() -> None:
    with pytest.raises(UserError, match="draws"):
        tune(INSIDE, Shifted(), SEEDS, 20, scoring_seeds=SCORING, draws=0)


def test_jobs_come_back_in_order_and_as_data() -> None:
    job = TuningJob("momentum", "bowl", Quadratic(2, -1.0, 0.0), SEEDS, SCORING, 20, draws=8)
    tuned = list(tune_all([job, replace(job, kind="rmsprop", task="other")]))
    assert [(t.kind, t.task) for t in tuned] == [("momentum", "bowl"), ("rmsprop", "other")]
    data = json.loads(json.dumps(tuned[0].to_json()))
    assert "rule" not in data
    assert len(data["draws"]) == len(tuned[0].draws)
    assert data["label"].startswith("momentum:lr=")


def test_an_unknown_rule_is_named_before_any_work() -> None:
    family = Shifted()
    good = TuningJob("momentum", "bowl", family, SEEDS, SCORING, 20)
    with pytest.raises(UserError, match="did you mean 'rmsprop'"):
        next(iter(tune_all([good, replace(good, kind="rmsprob")])))
    assert not family.seen
