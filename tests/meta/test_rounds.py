"""The round loop: which version acts, what a boundary decides, and that a run can be cut at any boundary."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayl2o.checkpoint import digest
from rayl2o.errors import UserError
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig, Decision
from rayl2o.meta.rounds import (
    TrainConfig,
    TrainState,
    absorb,
    acting_version,
    finished,
    fresh_state,
    learn,
    make_ticket,
    next_ticket,
    perform,
    plan_round,
    result,
    run_round,
    validate,
    validation_due,
)
from rayl2o.meta.snapshot import dump, restore
from rayl2o.rules.registry import make, parse_rule
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import UnrollConfig

RULE = make("rnnprop-small", {"output_scale": 0.1})
FAMILY = task("quadratic")
CONFIG = TrainConfig(
    seed=4,
    updates=18,
    slots=2,
    instances=2,
    unroll=UnrollConfig(steps=5),
    curriculum=CurriculumConfig(n_train=(10, 20), period=4, instances=3),
    behaviour=BehaviourConfig(imitation=(0.3,), self_improving=True, anneal=8),
)


def _run(config: TrainConfig, state: TrainState | None = None, rounds: int = 1000, pmap: Any = map) -> TrainState:
    state = state or fresh_state(RULE, FAMILY, config, "run")
    while not finished(config, state) and rounds:
        state, _ = run_round(RULE, FAMILY, config, state, pmap)
        rounds -= 1
    return state


@pytest.mark.parametrize("lag", [0, 1])
def test_which_version_acts(lag: int) -> None:
    config = replace(CONFIG, lag=lag, curriculum=replace(CONFIG.curriculum, kind="none"))
    state, acted = fresh_state(RULE, FAMILY, config, "run"), []
    for _ in range(4):
        _, jobs, phi = plan_round(FAMILY, config, state)
        acted.append({job.version for job in jobs})
        assert phi is state.history[jobs[0].version]
        state, _ = run_round(RULE, FAMILY, config, state)
        assert len(state.history) <= 1 + lag
    assert acted == ([{0}, {1}, {2}, {3}] if lag == 0 else [{0}, {0}, {1}, {2}])


@pytest.mark.parametrize("lag", [0, 1])
def test_cut_at_any_boundary_and_resumed_ends_with_the_same_bytes(lag: int) -> None:
    config = replace(CONFIG, lag=lag)
    whole = _run(config)
    assert whole.learner.optimizers["imitation"], "the run must have met a teacher"
    for cut in (1, 7, 14):
        tensors, meta = dump(_run(config, rounds=cut))
        again = restore(tensors, json.loads(json.dumps(meta)))
        ended = _run(config, again)
        assert digest(ended.learner.phi) == digest(whole.learner.phi)
        assert digest(dump(ended)[0]) == digest(dump(whole)[0])
        assert dump(ended)[1] == dump(whole)[1]


def test_the_learner_s_part_of_a_round_needs_no_slots() -> None:
    state = _run(CONFIG, rounds=3)
    planned, jobs, phi = plan_round(FAMILY, CONFIG, state)
    results = [perform(RULE, CONFIG, phi, job) for job in jobs]
    whole, metrics = absorb(RULE, CONFIG, planned, results)
    done = sum(after.finished(job.ticket) for job, (_, after) in zip(jobs, results, strict=True))
    assert done == 2
    bare, same = learn(RULE, CONFIG, replace(state, slots=()), [one for one, _ in results], done)
    assert bare.slots == ()
    assert same == metrics
    assert dump(replace(bare, slots=whole.slots))[1] == dump(whole)[1]
    assert digest(dump(replace(bare, slots=whole.slots))[0]) == digest(dump(whole)[0])


def test_the_next_ticket_is_the_slot_s_next_trajectory() -> None:
    ticket = make_ticket(FAMILY, CONFIG, "run", 1, 4, 0)
    assert next_ticket(FAMILY, CONFIG, ticket, 1) == make_ticket(FAMILY, CONFIG, "run", 1, 5, 1)


@pytest.mark.parametrize(("lag", "versions"), [(0, [0, 1, 2, 3]), (1, [0, 0, 1, 2])])
def test_the_acting_version(lag: int, versions: list[int]) -> None:
    assert [acting_version(replace(CONFIG, lag=lag), round) for round in (1, 2, 3, 4)] == versions


def test_the_map_may_finish_jobs_in_any_order() -> None:
    def backwards(function: Any, *arguments: Any) -> list[Any]:
        return [function(*call) for call in list(zip(*arguments, strict=True))[::-1]][::-1]

    assert digest(_run(CONFIG, pmap=backwards).learner.phi) == digest(_run(CONFIG).learner.phi)


def test_seeds_differ() -> None:
    assert digest(_run(CONFIG, rounds=3).learner.phi) != digest(_run(replace(CONFIG, seed=5), rounds=3).learner.phi)


def test_trajectories_end_and_begin_with_the_stage_s_horizon() -> None:
    state = _run(CONFIG, rounds=2)
    assert all(slot is not None and slot.finished(ticket) for ticket, slot in state.slots)
    advanced = replace(state, curriculum=replace(state.curriculum, stage=1, pending=0))
    renewed, jobs, _ = plan_round(FAMILY, CONFIG, advanced)
    assert [(job.ticket.ordinal, job.ticket.n_train, job.slot_state) for job in jobs] == [(1, 20, None)] * 2
    assert [ticket for ticket, _ in renewed.slots] == [job.ticket for job in jobs]


def test_validation_comes_after_a_period_and_decides() -> None:
    state = _run(CONFIG, rounds=3)
    assert state.curriculum.pending == 2
    assert not validation_due(CONFIG, state)
    state = _run(CONFIG, state, rounds=1)
    assert state.curriculum.pending == 0
    assert len(state.scores) == 1
    assert state.curriculum.best == state.scores[0][2]
    assert digest(state.best) == digest(state.learner.phi)


@pytest.mark.parametrize("stage", [0, 1])
def test_end_of_a_stage_restores_the_best_phi_as_the_newest_version(stage: int) -> None:
    state = _run(CONFIG, rounds=3)
    best = {name: value + 1.0 for name, value in state.best.items()}
    curriculum = replace(state.curriculum, stage=stage, evaluations=5, best=-1.0, improved=stage == 0)
    after, decision = validate(RULE, FAMILY, CONFIG, replace(state, best=best, curriculum=curriculum))
    assert decision is (Decision.ADVANCE if stage == 0 else Decision.STOP)
    assert digest(after.learner.phi) == digest(best) == digest(after.history[after.round])
    assert after.learner.optimizers is state.learner.optimizers
    assert after.curriculum.finished == (stage == 1)
    assert digest(result(CONFIG, after)) == digest(best)
    if stage == 0:
        assert after.curriculum.stage == 1
        assert after.curriculum.best > 0


def test_training_helps() -> None:
    """Some updates on a small classifier: the validation loss falls well below that after the first ones."""
    family = task("mlp", data="digits", hidden=(5,))
    curriculum = CurriculumConfig(n_train=(40,), period=8, instances=4)
    config = replace(CONFIG, updates=96, behaviour=BehaviourConfig(), curriculum=curriculum)
    state = fresh_state(RULE, family, config, "run")
    while not finished(config, state):
        state, _ = run_round(RULE, family, config, state)
    scores = [score for _, _, score in state.scores]
    assert min(scores) < 0.8 * scores[0]
    assert all(bool(torch.isfinite(value).all()) for value in state.learner.phi.values())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"updates": 0}, "updates"),
        ({"lag": 2}, "lag"),
        ({"unroll": UnrollConfig(steps=7)}, "multiples of unroll.steps"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(CONFIG, **settings)


def test_a_classic_rule_cannot_be_trained() -> None:
    with pytest.raises(UserError, match="only a rule with weights"):
        fresh_state(parse_rule("adam:lr=0.1"), FAMILY, CONFIG, "run")
