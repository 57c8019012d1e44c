"""A validation cut into its parts, as a runtime that scores elsewhere uses it, does what the whole does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayl2o.checkpoint import digest
from rayl2o.meta.curriculum import CurriculumConfig, Decision
from rayl2o.meta.rounds import TrainConfig, TrainState, fresh_state, run_round
from rayl2o.meta.snapshot import dump
from rayl2o.meta.validation import rebaseline, settle, validate, validation_due, validation_score
from rayl2o.rules.registry import make
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import UnrollConfig

RULE, FAMILY = make("rnnprop-small", {"output_scale": 0.1}), task("quadratic")
CONFIG = TrainConfig(
    seed=4,
    unroll=UnrollConfig(steps=5),
    curriculum=CurriculumConfig(n_train=(10, 20), n_valid=(10, 30), period=100, min_periods=1, instances=2),
)


@pytest.fixture(scope="module")
def trained() -> TrainState:
    state = fresh_state(RULE, FAMILY, CONFIG, "run")
    for _ in range(3):
        state, _ = run_round(RULE, FAMILY, CONFIG, state)
    return state


def _at(state: TrainState, best: float, improved: bool, stage: int = 0) -> TrainState:
    return replace(state, curriculum=replace(state.curriculum, stage=stage, best=best, improved=improved))


@pytest.mark.parametrize(
    ("best", "improved", "stage", "wanted"),
    [
        (1e9, False, 0, Decision.KEEP),
        (-1.0, True, 0, Decision.ADVANCE),
        (-1.0, False, 0, Decision.STOP),
        (-1.0, True, 1, Decision.STOP),
    ],
)
def test_parts_and_whole_agree(best: float, improved: bool, stage: int, wanted: Decision, trained: TrainState) -> None:
    before = _at(trained, best, improved, stage)
    whole, decision = validate(RULE, FAMILY, CONFIG, before)
    horizon = CONFIG.curriculum.valid_horizon(stage)
    score = validation_score(RULE, FAMILY, CONFIG, before.learner.phi, horizon)
    state, same, again = settle(CONFIG, before, score)
    assert decision is same is wanted
    assert again == (30 if wanted is Decision.ADVANCE else None)
    if again is not None:
        state = rebaseline(state, validation_score(RULE, FAMILY, CONFIG, state.learner.phi, again))
    assert dump(state)[1] == dump(whole)[1]
    assert digest(dump(state)[0]) == digest(dump(whole)[0])


def test_a_stage_that_is_not_over_goes_on(trained: TrainState) -> None:
    config = replace(CONFIG, curriculum=replace(CONFIG.curriculum, min_periods=3))
    state, decision, again = settle(config, _at(trained, 1.0, False), 2.0)
    assert (decision, again) == (Decision.CONTINUE, None)
    assert state.scores[-1] == (3, 0, 2.0)
    assert state.learner is trained.learner


def test_settling_needs_no_slots(trained: TrainState) -> None:
    """A learner that keeps no slots settles alike."""
    state, decision, _ = settle(CONFIG, replace(_at(trained, -1.0, True), slots=()), 5.0)
    assert decision is Decision.ADVANCE
    assert digest(state.history[state.round]) == digest(trained.best)


def test_validation_is_due_after_a_period_of_trajectories(trained: TrainState) -> None:
    ready = replace(trained, curriculum=replace(trained.curriculum, pending=100))
    assert validation_due(CONFIG, ready)
    assert not validation_due(CONFIG, trained)
    assert not validation_due(CONFIG, replace(ready, curriculum=replace(ready.curriculum, finished=True)))
    assert not validation_due(replace(CONFIG, curriculum=replace(CONFIG.curriculum, kind="equal")), ready)
