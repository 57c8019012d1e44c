from __future__ import annotations

import itertools
from typing import Any

import torch

from rayl2o.config import RunConfig
from rayl2o.meta.rounds import fresh_state, run_round
from rayl2o.rules.base import Phi
from rayl2o.study.arms import arms
from rayl2o.study.definition import Snapshots
from rayl2o.study.training import Snapshot, train
from tests.study.examples import toy, toy_data


def _config(**changes: Any) -> RunConfig:
    return arms(toy(base=toy_data()["base"] | changes))[0].config(4)


def _train(config: RunConfig, snapshots: Snapshots) -> list[Snapshot]:
    """With a clock on which every round takes a second."""
    ticks = itertools.count()
    return train(config, snapshots, "test", clock=lambda: float(next(ticks)))


def _by_hand(config: RunConfig, rounds: int) -> Phi:
    rule, family = config.make_rule(), config.make_family()
    state = fresh_state(rule, family, config, "test")
    for _ in range(rounds):
        state, _ = run_round(rule, family, config, state)
    return state.learner.phi


def _same(one: Phi, other: Phi) -> bool:
    return all(torch.equal(one[name], other[name]) for name in other)


def test_phi_is_kept_at_marks_of_both_clocks() -> None:
    config = _config()
    taken = _train(config, Snapshots(updates=(0, 2), cpu_s=(0.5, 4.5)))
    told = [(s.mark.clock, s.mark.at, s.mark.last, s.round, s.cpu_s) for s in taken]
    assert told == [
        ("updates", 0, False, 0, 0.0),
        ("cpu_s", 0.5, False, 1, 1.0),
        ("updates", 2, False, 2, 2.0),
        ("updates", 3, True, 3, 3.0),
        ("cpu_s", 4.5, True, 5, 5.0),
    ]
    assert [s.inner_steps for s in taken] == [2 * s.round for s in taken]
    for snapshot in taken:
        assert _same(snapshot.phi, _by_hand(config, snapshot.round)), snapshot.mark
    assert not _same(taken[0].phi, taken[-1].phi)


def test_a_curriculum_that_ends_the_training_gives_all_later_marks_its_best_phi() -> None:
    # A learning rate of nothing: no validation is better than the first, so the first stage ends the run.
    learner = {"rtg": {"name": "sgd", "lr": 1e-30}}
    curriculum = {"kind": "algorithm1", "n_train": [6, 12], "period": 1, "min_periods": 2, "instances": 2}
    config = _config(updates=100, learner=learner, curriculum=curriculum)
    taken = _train(config, Snapshots(updates=(1, 50), cpu_s=(60.0,)))
    ended = {s.round for s in taken[1:]}
    assert [s.mark.at for s in taken] == [1, 50, 100, 60.0]
    assert len(ended) == 1
    assert 1 < ended.pop() < 50
