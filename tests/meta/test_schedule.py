"""Horizons that a ticket is given: by stage, continuous, random."""

from __future__ import annotations

import itertools

import pytest
import torch

from rayl2o.meta.curriculum import CurriculumConfig, continuous_horizon
from rayl2o.meta.rounds import fresh_state, plan_round, run_round, stage_of
from rayl2o.meta.schedule import nominal_begin, plan_horizon, random_unrolls
from rayl2o.meta.training import TrainConfig
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import UnrollConfig


def _config(kind: str, *n_train: int, updates: int = 40) -> TrainConfig:
    curriculum = CurriculumConfig(kind=kind, n_train=n_train)
    return TrainConfig(updates=updates, slots=2, unroll=UnrollConfig(steps=5), curriculum=curriculum)


@pytest.mark.parametrize("kind", ["algorithm1", "code", "equal", "none"])
def test_by_stage(kind: str) -> None:
    assert plan_horizon(_config(kind, 10, 20, 50), 1, 7, 2) == (50, 2)


def test_a_continuous_trajectory_begins_where_the_one_before_it_ends() -> None:
    """In the loop itself: horizon and begin are those of the round, and the stage is the one that the horizon has reached."""
    rule, family, config = make("dm", {"hidden": [2]}), task("quadratic"), _config("continuous", 5, 15, 40)
    state = fresh_state(rule, family, config, "run")
    seen: dict[int, tuple[int, int]] = {}
    stages = []
    while state.round < config.updates:
        _, jobs, _ = plan_round(family, config, state)
        for job in jobs:
            seen.setdefault(job.ticket.ordinal, (state.round, job.ticket.n_train))
        stages.append(stage_of(config, state))
        state, metrics = run_round(rule, family, config, state)
        assert not metrics["diverged"]
    for ordinal, (begun, horizon) in seen.items():
        assert begun == nominal_begin(config, ordinal)
        assert horizon == continuous_horizon(config.curriculum, begun, config.updates, 5)
        assert plan_horizon(config, 0, ordinal, 99) == (horizon, stages[begun])
    horizons = [horizon for _, horizon in seen.values()]
    assert horizons == sorted(horizons)
    assert len(set(horizons)) > 4
    assert stages == sorted(stages)
    assert set(stages) == {0, 1, 2}


def test_a_random_horizon_is_a_number_of_unrolls_with_the_stated_mean() -> None:
    config = _config("random", 20, 50)
    drawn = [plan_horizon(config, slot, ordinal, 0) for slot, ordinal in itertools.product(range(2), range(1000))]
    horizons = torch.tensor([horizon for horizon, _ in drawn], dtype=torch.float64)
    assert {stage for _, stage in drawn} == {0}
    assert int(horizons.min()) == 5
    assert bool((horizons % 5 == 0).all())
    # The standard deviation of a geometric number with mean 4 is sqrt(12): 5 standard errors of a mean of 2,000.
    assert float(horizons.mean() / 5) == pytest.approx(4.0, abs=5 * 12**0.5 / 2000**0.5)
    assert plan_horizon(config, 1, 7, 0) == drawn[1007]


def test_the_distribution_is_geometric() -> None:
    """Against the uniform numbers that the generator gives: n unrolls in [1 - q^(n-1), 1 - q^n), with q = 1 - 1/mean."""
    seen = set()
    for seed in range(200):
        uniform = float(torch.rand((), generator=generator("u", seed), dtype=torch.float64))
        n = random_unrolls(4.0, generator("u", seed))
        assert 1 - 0.75 ** (n - 1) <= uniform < 1 - 0.75**n
        seen.add(n)
    assert {1, 2, 3, 4, 5, 6} <= seen
    assert random_unrolls(1.0, generator("u")) == 1
