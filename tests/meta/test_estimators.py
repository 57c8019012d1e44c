"""Every estimator hands the learner the same gradient up to rounding, and the slot the same state to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from rayl2o.checkpoint import digest
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig
from rayl2o.meta.estimators import TABLE, perform
from rayl2o.meta.gradient import Contribution, Gradient
from rayl2o.meta.learner import LearnerConfig, meta_gradient
from rayl2o.meta.optimizer import MetaOptimizerConfig
from rayl2o.meta.rounds import TrainState, finished, fresh_state, plan_round, run_round
from rayl2o.meta.snapshot import dump, restore
from rayl2o.meta.training import ESTIMATORS, Job, TrainConfig
from rayl2o.rules.base import Rule
from rayl2o.rules.registry import make
from rayl2o.tasks.registry import task
from rayl2o.unroll.segment import Segment
from rayl2o.unroll.settings import UnrollConfig

RULE = make("rnnprop-small", {"output_scale": 0.1})
FAMILY = task("mlp", data="digits", hidden=(3,), init_std=0.3)
SGD = MetaOptimizerConfig(name="sgd", lr=0.01)
CONFIG = TrainConfig(
    seed=2,
    updates=5,
    slots=3,
    instances=2,
    unroll=UnrollConfig(steps=4, dtype="float64"),
    learner=LearnerConfig(rtg=SGD, imitation=SGD),
    curriculum=CurriculumConfig(kind="none", n_train=(8,)),
)
BEHAVIOURS: dict[str, BehaviourConfig] = {
    "students": BehaviourConfig(),
    "mixed": BehaviourConfig(self_improving=True, anneal=50),
    "taught": BehaviourConfig(imitation=(1.0,)),
}
DRAWN = {"sampling": "importance", "coords_per_row": 20}


def _run(config: TrainConfig, state: TrainState | None = None, rounds: int = 1000, rule: Rule = RULE) -> TrainState:
    state = state or fresh_state(rule, FAMILY, config, "run")
    while not finished(config, state) and rounds:
        state, _ = run_round(rule, FAMILY, config, state)
        rounds -= 1
    return state


def _close(one: TrainState, other: TrainState) -> None:
    start = fresh_state(RULE, FAMILY, CONFIG, "run").learner.phi
    for name, value in one.learner.phi.items():
        moved = float((value - start[name]).abs().max())
        torch.testing.assert_close(other.learner.phi[name], value, rtol=0, atol=1e-10 * max(moved, 1e-6))
    assert not all(torch.equal(one.learner.phi[name], start[name]) for name in start)


def test_the_table_has_what_the_config_takes() -> None:
    assert tuple(TABLE) == ESTIMATORS


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("unroll", [{}, {"credit": "exact", **DRAWN}, DRAWN], ids=["all", "exact, drawn", "drawn"])
def test_gradients_made_by_workers_train_alike(behaviour: str, unroll: dict[str, Any]) -> None:
    config = replace(CONFIG, behaviour=BEHAVIOURS[behaviour], unroll=replace(CONFIG.unroll, **unroll))
    _close(_run(config), _run(replace(config, estimator="rtg_worker")))


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("credit", ["first_order", "exact"])
def test_back_propagation_trains_alike(behaviour: str, credit: str) -> None:
    config = replace(CONFIG, behaviour=BEHAVIOURS[behaviour], unroll=replace(CONFIG.unroll, credit=credit))
    _close(_run(config), _run(replace(config, estimator="bptt")))


def _contribute(config: TrainConfig) -> list[tuple[Contribution, Any]]:
    state = fresh_state(RULE, FAMILY, config, "run")
    _, jobs, phi = plan_round(FAMILY, config, state)
    return [perform(RULE, config, phi, job) for job in jobs]


@pytest.mark.parametrize("estimator", ["rtg_worker", "bptt", "es"])
def test_the_slot_goes_on_as_if_a_segment_had_been_made(estimator: str) -> None:
    config = replace(CONFIG, behaviour=BEHAVIOURS["mixed"], unroll=replace(CONFIG.unroll, credit="exact"))
    for (segment, after), (gradient, same) in zip(
        _contribute(config), _contribute(replace(config, estimator=estimator)), strict=True
    ):
        assert isinstance(segment, Segment)
        assert isinstance(gradient, Gradient)
        assert gradient.source == segment.source
        assert torch.equal(after.params, same.params)
        assert torch.equal(after.grad, same.grad)
        assert digest(after.rule_state) == digest(same.rule_state)
        assert (after.step, after.segment) == (same.step, same.segment)


@pytest.mark.parametrize("estimator", ["rtg_worker", "bptt", "es", "pes"])
def test_trajectories_of_teachers_have_an_update_and_moments_of_their_own(estimator: str) -> None:
    config = replace(
        CONFIG,
        slots=4,
        seed=5,
        estimator=estimator,
        behaviour=BehaviourConfig(imitation=(0.5,)),
        learner=LearnerConfig(),
    )
    found = {one.source.behaviour for one, _ in _contribute(config)}
    assert found == {"student", "teacher"}
    state, metrics = run_round(RULE, FAMILY, config, fresh_state(RULE, FAMILY, config, "run"))
    assert state.learner.updates == 2
    assert metrics["imitation_loss"] > 0
    assert metrics["grad_norm"] > 0
    moments = state.learner.optimizers
    assert not torch.equal(moments["rtg"]["linear.w/exp_avg"], moments["imitation"]["linear.w/exp_avg"])


def test_an_instance_that_diverged_before_adds_nothing_to_back_propagation() -> None:
    config = replace(CONFIG, slots=1, unroll=replace(CONFIG.unroll, credit="exact"))
    state, _ = run_round(RULE, FAMILY, config, fresh_state(RULE, FAMILY, config, "run"))
    ticket, after = state.slots[0]
    assert after is not None
    dead = replace(
        after,
        alive=torch.tensor([True, False]),
        loss=torch.where(torch.tensor([True, False]), after.loss, torch.nan),
    )
    job, phi = Job(ticket, dead, 1), state.learner.phi
    segment, _ = perform(RULE, config, phi, job)
    gradient, _ = perform(RULE, replace(config, estimator="bptt"), phi, job)
    assert isinstance(segment, Segment)
    assert isinstance(gradient, Gradient)
    for name, expected in meta_gradient(RULE, phi, [segment])[0].items():
        atol = 1e-10 * float(expected.abs().max())
        torch.testing.assert_close(gradient.grads[name], expected, rtol=1e-10, atol=atol)
    assert gradient.objective == pytest.approx(float(segment.loss[0, 1:].sum()) / 2, rel=1e-12)
    assert gradient.tally == replace(gradient.tally, steps=4, status=("ok", "diverged"))


def test_a_divergence_under_back_propagation_is_skipped_counted_and_over() -> None:
    rule = make("dm", {"hidden": [3], "output_scale": 1e30})
    config = replace(
        CONFIG,
        slots=1,
        instances=1,
        estimator="bptt",
        unroll=UnrollConfig(steps=4),
        learner=LearnerConfig(rollback_after=2),
    )
    family = task("quadratic")
    state = fresh_state(rule, family, config, "run")
    phi = state.learner.phi
    for ordinal in range(3):
        state, metrics = run_round(rule, family, config, state)
        ticket, after = state.slots[0]
        assert after is not None
        assert (ticket.ordinal, after.finished(ticket), metrics["diverged"]) == (ordinal, True, 1.0)
    assert (state.learner.skipped, state.learner.updates, state.learner.rollbacks) == (3, 0, 1)
    assert digest(state.learner.phi) == digest(phi)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("lag", [0, 1])
def test_cut_and_resumed_ends_with_the_same_bytes(estimator: str, lag: int) -> None:
    config = replace(
        CONFIG, estimator=estimator, lag=lag, behaviour=BehaviourConfig(imitation=(0.3,), self_improving=True)
    )
    whole = _run(config)
    for cut in (1, 3):
        ended = _run(config, restore(*dump(_run(config, rounds=cut))))
        assert digest(dump(ended)[0]) == digest(dump(whole)[0])
        assert dump(ended)[1] == dump(whole)[1]
