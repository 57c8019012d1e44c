"""A validation cut into its parts, as a runtime that scores elsewhere uses it, does what the whole does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayl2o.checkpoint import digest
from rayl2o.meta.average import Average
from rayl2o.meta.curriculum import CurriculumConfig, Decision
from rayl2o.meta.learner import LearnerConfig, candidate
from rayl2o.meta.rounds import TrainConfig, TrainState, fresh_state, result, run_round
from rayl2o.meta.snapshot import dump
from rayl2o.meta.validation import rebaseline, settle, validate, validation_due, validation_score
from rayl2o.rules.registry import make
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.closed_loop import closed_loop
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


@pytest.mark.parametrize("kind", ["code", "equal", "continuous", "none", "random"])
def test_which_kinds_are_validated(kind: str, trained: TrainState) -> None:
    ready = replace(trained, curriculum=replace(trained.curriculum, pending=100))
    config = replace(CONFIG, curriculum=replace(CONFIG.curriculum, kind=kind))
    assert validation_due(config, ready) == (kind == "code")


def test_what_is_scored(trained: TrainState) -> None:
    """Written out: the same tasks, starts and minibatches; the mean over the horizon, or the last minibatch."""
    task_batch = FAMILY.build([FAMILY.sample(draws) for draws in [generator(4, "validation-task")] for _ in range(2)])
    curves = closed_loop(
        RULE,
        trained.learner.phi,
        task_batch,
        [derive_seed(4, "validation-init", k) for k in range(2)],
        lambda step: [derive_seed(4, "validation-batch", k, step) for k in range(2)],
        30,
    )
    for kind, losses in (("algorithm1", curves.loss), ("code", curves.loss[:, 29])):
        config = replace(CONFIG, curriculum=replace(CONFIG.curriculum, kind=kind))
        score = validation_score(RULE, FAMILY, config, trained.learner.phi, 30)
        assert score == pytest.approx(float(losses.mean()), rel=1e-6)


def test_the_average_is_what_is_scored_remembered_restored_and_shipped(trained: TrainState) -> None:
    average = Average({name: value * 0.5 for name, value in trained.learner.phi.items()}, 3)
    config = replace(CONFIG, learner=LearnerConfig(ema=0.9))
    state = replace(trained, learner=replace(trained.learner, average=average))
    assert result(config, state) is average.phi
    kept, decision = validate(RULE, FAMILY, config, _at(state, 1e9, False))
    assert decision is Decision.KEEP
    assert kept.best is average.phi
    assert kept.scores[-1][2] == validation_score(RULE, FAMILY, config, average.phi, 10)
    assert kept.learner is state.learner
    advanced, decision = validate(RULE, FAMILY, config, _at(kept, -1.0, True))
    assert decision is Decision.ADVANCE
    assert advanced.learner.phi is advanced.history[advanced.round] is candidate(advanced.learner) is average.phi
    assert advanced.learner.average == Average()
    assert advanced.curriculum.best == validation_score(RULE, FAMILY, config, average.phi, 30)
    assert result(config, advanced) is average.phi
