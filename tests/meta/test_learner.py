"""The learner step: two losses with separate moments, non-finite gradients skipped and rolled back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.average import Average, averaged
from rayl2o.meta.gradient import Gradient, tally
from rayl2o.meta.learner import (
    LearnerConfig,
    candidate,
    fresh_learner,
    gradient_step,
    learner_step,
    meta_gradient,
    restarted,
)
from rayl2o.meta.losses import imitation_loss
from rayl2o.meta.optimizer import CLOCK, MetaOptimizerConfig, apply_gradient
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


def _gradient(grads: dict[str, Tensor], objective: float = 1.0) -> Gradient:
    segment = _segment()
    return Gradient(segment.source, grads, objective, tally(segment))


def test_entries_that_are_not_finite_can_be_zeroed_and_are_counted() -> None:
    config = LearnerConfig(rtg=MetaOptimizerConfig("sgd", 0.1, nonfinite="zero"))
    grads = {name: torch.ones_like(value) for name, value in PHI.items()}
    grads["linear.w"] = torch.full_like(grads["linear.w"], torch.nan)
    state, metrics = gradient_step(config, fresh_learner(PHI), [_gradient(grads, torch.inf)])
    assert (state.updates, state.skipped, state.zeroed) == (1, 0, 1)
    assert metrics["zeroed"] == 1
    assert metrics["grad_norm"] == pytest.approx(sum(g.numel() for n, g in grads.items() if n != "linear.w") ** 0.5)
    assert torch.equal(state.phi["linear.w"], PHI["linear.w"])
    torch.testing.assert_close(state.phi["linear.b"], PHI["linear.b"] - 0.1)
    # A gradient without a finite entry says nothing: it is skipped, and leads back to the anchor in the end.
    hopeless = _gradient({name: torch.full_like(value, torch.inf) for name, value in PHI.items()})
    for _ in range(config.rollback_after):
        state, _ = gradient_step(config, state, [hopeless])
    assert (state.updates, state.skipped, state.zeroed, state.rollbacks) == (1, 3, 1, 1)
    assert all(torch.equal(state.phi[name], PHI[name]) for name in PHI)


def test_a_rollback_keeps_the_place_in_the_schedule() -> None:
    config = replace(CONFIG, rtg=MetaOptimizerConfig(decay=0.5, decay_every=1))
    state = fresh_learner(PHI)
    for segment in (_segment(), _segment(), _broken(), _broken()):
        state, _ = learner_step(RULE, config, state, [segment])
    assert state.rollbacks == 1
    assert state.optimizers == {"rtg": {CLOCK: torch.tensor(2)}, "imitation": {}}


def test_the_average_follows_every_update_and_starts_anew_after_a_rollback() -> None:
    config = replace(CONFIG, ema=0.9)
    state, expected = fresh_learner(PHI), Average()
    assert candidate(state) is PHI
    for slot in range(3):
        state, _ = learner_step(RULE, config, state, [_segment(TEACHER, slot), _segment()])
        assert state.average.updates == 2 * (slot + 1)
    state = fresh_learner(PHI)
    for _ in range(3):
        state, _ = learner_step(RULE, config, state, [_segment()])
        expected = averaged(0.9, expected, state.phi)
    assert all(torch.equal(candidate(state)[name], expected.phi[name]) for name in PHI)
    assert not any(torch.equal(candidate(state)[name], state.phi[name]) for name in PHI)
    plain = fresh_learner(PHI)
    for _ in range(3):
        plain, _ = learner_step(RULE, CONFIG, plain, [_segment()])
    assert all(torch.equal(plain.phi[name], state.phi[name]) for name in PHI), "the average must not act"
    assert candidate(plain) is plain.phi
    for _ in range(CONFIG.rollback_after):
        state, _ = learner_step(RULE, config, state, [_broken()])
    assert state.average == Average()
    assert candidate(state) is state.phi is state.anchor


def test_a_restart_keeps_the_moments() -> None:
    state, _ = learner_step(RULE, replace(CONFIG, ema=0.9), fresh_learner(PHI), [_segment()])
    again = restarted(state, PHI)
    assert again.phi is again.anchor is candidate(again) is PHI
    assert again.optimizers is state.optimizers


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"ema": 1.0}, "ema"), ({"rollback_after": 0}, "rollback_after"), ({"anchor_every": 0}, "anchor")],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        LearnerConfig(**settings)  # type: ignore[arg-type]
