"""A training state as tensors and JSON: bit for bit there and back; anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rayl2o.checkpoint import digest
from rayl2o.errors import UserError
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig
from rayl2o.meta.learner import LearnerConfig, candidate
from rayl2o.meta.optimizer import MetaOptimizerConfig
from rayl2o.meta.replay import ReplayConfig
from rayl2o.meta.rounds import TrainConfig, TrainState, fresh_state, run_round
from rayl2o.meta.snapshot import dump, restore
from rayl2o.rules.registry import make
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import UnrollConfig

RULE, FAMILY = make("dm", {"hidden": [3]}), task("quadratic")
CONFIG = TrainConfig(
    slots=2,
    unroll=UnrollConfig(steps=5),
    curriculum=CurriculumConfig(n_train=(10, 20), period=1, instances=2),
    behaviour=BehaviourConfig(imitation=(0.5,), self_improving=True),
)


def _state(rounds: int, config: TrainConfig = CONFIG) -> TrainState:
    state = fresh_state(RULE, FAMILY, config, "run")
    for _ in range(rounds):
        state, _ = run_round(RULE, FAMILY, config, state)
    return state


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
def test_round_trip_through_json(rounds: int) -> None:
    tensors, meta = dump(_state(rounds))
    again, same = dump(restore(tensors, json.loads(json.dumps(meta, allow_nan=False))))
    assert digest(again) == digest(tensors)
    assert same == meta


@pytest.mark.parametrize("cut", [1, 4, 7])
@pytest.mark.parametrize("kind", ["code", "continuous", "random"])
def test_cut_and_resumed_with_average_and_schedule_ends_with_the_same_bytes(kind: str, cut: int) -> None:
    optimizer = MetaOptimizerConfig("nadam", 0.01, decay=0.5, decay_every=3, clip_value=5.0, l2=1e-3, nonfinite="zero")
    config = replace(
        CONFIG,
        updates=9,
        learner=LearnerConfig(rtg=optimizer, imitation=optimizer, ema=0.8),
        curriculum=CurriculumConfig(kind=kind, n_train=(5, 15), period=3, instances=2),
        behaviour=BehaviourConfig(teachers=("code", "sgd:lr=0.1"), weights=(1.0, 3.0), imitation_like="dm"),
    )
    whole, tensors, meta = _state(9, config), *dump(_state(cut, config))
    state = restore(tensors, json.loads(json.dumps(meta)))
    while state.round < 9:
        state, _ = run_round(RULE, FAMILY, config, state)
    assert whole.learner.average.updates > 0
    assert candidate(whole.learner) is not whole.learner.phi
    assert digest(dump(state)[0]) == digest(dump(whole)[0])
    assert dump(state)[1] == dump(whole)[1]


def test_a_checkpoint_of_an_older_version_loads() -> None:
    state = _state(1)
    tensors, meta = dump(state)
    del meta["averaged"], meta["learner"]["zeroed"]
    for slot in meta["slots"]:
        del slot["state"]["pending"]
    assert not any(name.startswith("average") for name in tensors)
    old = {name: value for name, value in tensors.items() if not name.endswith("first_loss")}
    again = restore(old, meta)
    assert (again.learner.average, again.learner.zeroed) == (state.learner.average, 0)
    digests = [digest(run_round(RULE, FAMILY, CONFIG, one)[0].learner.phi) for one in (again, state)]
    assert digests[0] == digests[1]


def test_replayed_segments_must_be_those_that_were_kept() -> None:
    state = _state(3, replace(CONFIG, replay=ReplayConfig(uses=4)))
    tensors, meta = dump(state)
    segments = [kept.segment for kept in state.replay.entries]
    again = restore(tensors, json.loads(json.dumps(meta)), segments)
    assert again.replay == state.replay
    for wrong in ([], segments[1:], segments[::-1]):
        with pytest.raises(UserError, match="does not hold a training state"):
            restore(tensors, meta, wrong)


def test_a_foreign_checkpoint_is_refused() -> None:
    tensors, meta = dump(_state(1))
    for broken in ({}, {**meta, "slots": [{"ticket": {}}]}, {**meta, "versions": None}):
        with pytest.raises(UserError, match="does not hold a training state"):
            restore(tensors, broken)
    with pytest.raises(UserError, match="does not hold a training state"):
        restore({name: value for name, value in tensors.items() if not name.endswith("alive")}, meta)
