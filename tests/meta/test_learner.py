"""The learner step: two losses with separate moments, non-finite gradients skipped and rolled back."""

from __future__ import annotations

from dataclasses import replace

import torch

from rayl2o.meta.learner import LearnerConfig, fresh_learner, learner_step, meta_gradient
from rayl2o.meta.losses import imitation_loss
from rayl2o.meta.optimizer import MetaOptimizerConfig, apply_gradient
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import TEACHER, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

RULE = make("dm", {"hidden": [4]})
PHI = RULE.init_phi(generator("phi"))
FAMILY = task("quadratic")
CONFIG = LearnerConfig(rollback_after=2, anchor_every=2)


def _segment(behaviour: str = "student", slot: int = 0) -> Segment:
    teachers = ("sgd:lr=0.01",) if behaviour == TEACHER else ()
    ticket = Ticket("r", 0, slot, 0, (FAMILY.sample(generator("t")),), 40, behaviour, teachers)
    return rollout(RULE, UnrollConfig(steps=4), ticket, None, PHI)[0]


def _broken() -> Segment:
    segment = _segment()
    return replace(segment, credit=torch.full_like(segment.credit, torch.inf))


def test_one_update_is_the_meta_gradient_through_adam() -> None:
    state, metrics = learner_step(RULE, CONFIG, fresh_learner(PHI), [_segment()])
    grads, _ = meta_gradient(RULE, PHI, [_segment()])
    phi, _ = apply_gradient(CONFIG.rtg, PHI, grads, {})
    assert all(torch.equal(state.phi[name], phi[name]) for name in phi)
    assert metrics["grad_norm"] > 0
    assert (state.updates, state.skipped) == (1, 0)


def test_imitation_comes_second_with_its_own_moments() -> None:
    state, metrics = learner_step(RULE, CONFIG, fresh_learner(PHI), [_segment(TEACHER, 1), _segment()])
    first, _ = learner_step(RULE, CONFIG, fresh_learner(PHI), [_segment()])
    grads, _ = meta_gradient(RULE, first.phi, [_segment(TEACHER, 1)], imitation_loss)
    phi, _ = apply_gradient(CONFIG.imitation, first.phi, grads, {})
    assert all(torch.equal(state.phi[name], phi[name]) for name in phi)
    assert set(metrics) == {"grad_norm", "imitation_loss"}
    assert not torch.equal(
        state.optimizers["rtg"]["linear.w/exp_avg"], state.optimizers["imitation"]["linear.w/exp_avg"]
    )


def test_imitation_learns_to_imitate() -> None:
    state = fresh_learner(PHI)
    config = LearnerConfig(imitation=MetaOptimizerConfig(lr=0.02))
    losses = []
    for _ in range(150):
        state, metrics = learner_step(RULE, config, state, [_segment(TEACHER)])
        losses.append(metrics["imitation_loss"])
    assert losses[-1] < 0.3 * losses[0]


def test_non_finite_gradients_are_skipped_counted_and_rolled_back() -> None:
    state = fresh_learner(PHI)
    for _ in range(3):
        state, _ = learner_step(RULE, CONFIG, state, [_segment()])
    assert state.updates == 3
    anchor = state.anchor  # phi after the second update
    skipped, _ = learner_step(RULE, CONFIG, state, [_broken()])
    assert (skipped.updates, skipped.skipped, skipped.in_a_row) == (3, 1, 1)
    assert all(torch.equal(skipped.phi[name], state.phi[name]) for name in PHI)
    rolled, _ = learner_step(RULE, CONFIG, skipped, [_broken()])
    assert (rolled.rollbacks, rolled.in_a_row, rolled.skipped) == (1, 0, 2)
    assert all(torch.equal(rolled.phi[name], anchor[name]) for name in PHI)
    assert not any(torch.equal(rolled.phi[name], state.phi[name]) for name in PHI)
    assert rolled.optimizers == {"rtg": {}, "imitation": {}}
    again, _ = learner_step(RULE, CONFIG, rolled, [_segment()])
    assert (again.updates, again.in_a_row) == (4, 0)
