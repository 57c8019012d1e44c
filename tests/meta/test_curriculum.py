"""Algorithm 1 of paper T: every transition, in a table."""

from __future__ import annotations

import math

import pytest

from rayl2o.errors import UserError
from rayl2o.meta.curriculum import (
    KINDS,
    CurriculumConfig,
    CurriculumState,
    Decision,
    continuous_horizon,
    equal_stage,
    judge,
    reached_stage,
    rebase,
)

CONFIG = CurriculumConfig(n_train=(100, 200, 500), min_periods=3)
NAN, INF = math.nan, math.inf
KEEP, CONTINUE, ADVANCE, STOP = Decision.KEEP, Decision.CONTINUE, Decision.ADVANCE, Decision.STOP


def _state(stage: int, evaluations: int, best: float, improved: bool) -> CurriculumState:
    return CurriculumState(stage=stage, evaluations=evaluations, best=best, improved=improved, pending=7)


@pytest.mark.parametrize(
    ("before", "score", "decision", "stage", "evaluations", "best", "improved", "finished"),
    [
        # A first score always beats +inf in stage 0.
        (_state(0, 0, INF, False), 2.0, KEEP, 0, 1, 2.0, True, False),
        # A new best keeps the stage alive, however many periods it has had.
        (_state(0, 1, 2.0, True), 1.9, KEEP, 0, 2, 1.9, True, False),
        (_state(0, 9, 2.0, True), 1.9, KEEP, 0, 10, 1.9, True, False),
        # Not better before N_period: go on, improved or not.
        (_state(0, 0, 2.0, False), 2.5, CONTINUE, 0, 1, 2.0, False, False),
        (_state(0, 1, 2.0, True), 2.5, CONTINUE, 0, 2, 2.0, True, False),
        # The third validation is the first that can end a stage.
        (_state(0, 2, 2.0, True), 2.5, ADVANCE, 1, 0, INF, False, False),
        (_state(1, 2, 2.0, True), 2.5, ADVANCE, 2, 0, INF, False, False),
        (_state(1, 5, 2.0, True), 2.5, ADVANCE, 2, 0, INF, False, False),
        # Equal is not better.
        (_state(0, 2, 2.0, True), 2.0, ADVANCE, 1, 0, INF, False, False),
        # A stage that never beat its baseline ends the training.
        (_state(1, 2, 2.0, False), 2.5, STOP, 1, 3, 2.0, False, True),
        # So does the last stage, improved or not (the published code indexes past the end here).
        (_state(2, 2, 2.0, True), 2.5, STOP, 2, 3, 2.0, True, True),
        (_state(2, 2, 2.0, False), 2.5, STOP, 2, 3, 2.0, False, True),
        # A diverged validation is no improvement.
        (_state(0, 0, INF, False), NAN, CONTINUE, 0, 1, INF, False, False),
        (_state(0, 2, INF, False), NAN, STOP, 0, 3, INF, False, True),
        (_state(0, 2, INF, False), INF, STOP, 0, 3, INF, False, True),
        (_state(1, 2, 2.0, True), NAN, ADVANCE, 2, 0, INF, False, False),
    ],
)
def test_every_transition(
    before: CurriculumState,
    score: float,
    decision: Decision,
    stage: int,
    evaluations: int,
    best: float,
    improved: bool,
    finished: bool,
) -> None:
    after, made = judge(CONFIG, before, score)
    assert made is decision
    assert after == CurriculumState(stage, evaluations, best, improved, 0, finished)


def test_baseline_of_a_new_stage() -> None:
    state, _ = judge(CONFIG, _state(0, 2, 2.0, True), 2.5)
    assert rebase(state, 3.0).best == 3.0
    assert not rebase(state, 3.0).improved
    assert rebase(state, NAN).best == INF


def test_a_whole_training() -> None:
    """Scores and decisions of a run that improves in two stages and stops in the third."""
    state, seen = CurriculumState(), []
    for score in (2.0, 1.5, 1.6, 1.0, 0.9, 0.8, 0.85, 3.0, 3.0, 3.0):
        state, decision = judge(CONFIG, state, score)
        seen.append(decision)
        if decision is ADVANCE:
            state = rebase(state, 2.0)
    assert seen == [KEEP, KEEP, ADVANCE, KEEP, KEEP, KEEP, ADVANCE, CONTINUE, CONTINUE, STOP]
    assert state.finished


def test_validation_horizons_are_shifted_by_one() -> None:
    assert [CONFIG.valid_horizon(i) for i in range(3)] == [200, 500, 500]
    assert CurriculumConfig(n_train=(10, 20), n_valid=(30, 40)).valid_horizon(1) == 40


def test_equal_stages() -> None:
    assert [equal_stage(CONFIG, r, 7) for r in range(8)] == [0, 0, 0, 1, 1, 2, 2, 2]


def test_the_code_s_variant_differs_in_its_score_alone() -> None:
    code = CurriculumConfig(kind="code", n_train=CONFIG.n_train)
    assert (CONFIG.scores, code.scores) == ("mean", "final")
    assert CurriculumConfig(kind="code", score="mean").scores == "mean"
    assert CurriculumConfig(score="final").scores == "final"
    for state in (_state(0, 2, 2.0, True), _state(1, 2, 2.0, False), _state(2, 2, 2.0, True)):
        assert judge(code, state, 2.5) == judge(CONFIG, state, 2.5)


def test_the_code_s_lists_end_without_its_two_faults() -> None:
    """The code's shifted list has no validation horizon for the last stage, and would then repeat that stage."""
    code = CurriculumConfig(kind="code")
    assert [code.valid_horizon(i) for i in range(8)] == [200, 500, 1000, 1500, 2000, 2500, 3000, 3000]
    assert judge(code, _state(6, 2, 2.0, True), 2.5)[0].stage == 7
    assert judge(code, _state(7, 2, 2.0, True), 2.5)[1] is STOP


def test_which_kinds_validate() -> None:
    assert {kind for kind in KINDS if CurriculumConfig(kind=kind).validates} == {"algorithm1", "code"}


@pytest.mark.parametrize(
    ("kind", "longest"), [("algorithm1", 500), ("continuous", 500), ("none", 100), ("random", 100)]
)
def test_the_longest_horizon_in_view(kind: str, longest: int) -> None:
    assert CurriculumConfig(kind=kind, n_train=(100, 500)).longest == longest


def test_a_continuous_horizon_is_geometric_to_the_nearest_multiple() -> None:
    config = CurriculumConfig(kind="continuous", n_train=(100, 200, 1600))
    assert [continuous_horizon(config, r, 5, 20) for r in range(7)] == [100, 200, 400, 800, 1600, 1600, 1600]
    assert [continuous_horizon(config, r, 9, 20) for r in (1, 3)] == [140, 280]  # 141.4, 282.8
    assert continuous_horizon(config, 0, 1, 20) == 100
    assert continuous_horizon(CurriculumConfig(kind="continuous", n_train=(20,)), 3, 9, 20) == 20
    grown = [continuous_horizon(config, r, 1000, 20) for r in range(1000)]
    assert grown == sorted(grown)
    assert set(grown) == set(range(100, 1601, 20))


def test_the_stage_that_a_horizon_has_reached() -> None:
    assert [reached_stage(CONFIG, n) for n in (60, 100, 180, 200, 499, 500, 900)] == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"score": "last"}, "score of a validation"),
        ({"kind": "equal", "score": "mean"}, "no validations"),
        ({"kind": "continuous", "n_train": (200, 100)}, "ascending"),
        ({"kind": "algoritm1"}, "algorithm1"),
        ({"n_train": ()}, "positive horizons"),
        ({"n_train": (100, 0)}, "positive horizons"),
        ({"n_train": (100,), "n_valid": (1, 2)}, "one horizon per stage"),
        ({"period": 0}, "period"),
        ({"min_periods": 0}, "min_periods"),
    ],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        CurriculumConfig(**settings)  # type: ignore[arg-type]
