"""Fine-tuning: the update is the chain rule, episodes are as long as deployment, the best held-out iterate is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.optimizer import MetaOptimizerConfig
from rayl2o.rules.base import Phi
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.finetune import FinetuneConfig, coefficient_scales, finetune
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.selection import score
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

FAMILY = Quadratic(size=4, log10_smallest=-1.0)
TUNE, HELD_OUT = Runs(FAMILY, 0, "tune", 2), Runs(FAMILY, 0, "select", 3)
TIMID = SymbolicRule.from_formula("-0.02*g - 0.03*ema(g, 0.5)", clamp=10.0)
UNROLL = UnrollConfig(steps=5)


class _Watch:
    """A roll-out that remembers what it was asked for."""

    def __init__(self, spoil: bool = False) -> None:
        self.tickets: list[Ticket] = []
        self.starts: list[int] = []
        self.phis: list[Phi] = []
        self.segments: list[Segment] = []
        self.spoil = spoil

    def __call__(
        self, rule: SymbolicRule, config: UnrollConfig, ticket: Ticket, state: SlotState | None, phi: Phi, version: int
    ) -> tuple[Segment, SlotState]:
        segment, after = rollout(rule, config, ticket, state, phi, version)
        if self.spoil:
            segment = replace(segment, credit=segment.credit * float("nan"))
        self.tickets.append(ticket)
        self.starts.append(segment.source.start_step)
        self.phis.append(phi)
        self.segments.append(segment)
        return segment, after


def test_an_update_is_the_chain_rule_on_normalised_numbers() -> None:
    watch, unit = _Watch(), torch.tensor([0.5, 2.0])
    config = FinetuneConfig(2, 2, MetaOptimizerConfig("sgd", lr=1e-4), UNROLL)
    finetune(TIMID, TUNE, HELD_OUT, 20, config, unit, watch)
    before, after = watch.phis
    torch.testing.assert_close(before, TIMID.init_phi())
    gradient, _ = meta_gradient(TIMID, before, [watch.segments[0]])
    # d/d(w / unit) = unit d/dw, so a step of lr in w / unit is a step of lr unit^2 in w; likewise for the log of the gain.
    torch.testing.assert_close(
        after["coefficients"], before["coefficients"] - 1e-4 * unit**2 * gradient["coefficients"], rtol=1e-6, atol=1e-9
    )
    torch.testing.assert_close(after["gain"], torch.exp(-1e-4 * gradient["gain"]))


def test_episodes_are_as_long_as_deployment_and_fresh() -> None:
    watch = _Watch()
    finetune(TIMID, TUNE, HELD_OUT, 20, FinetuneConfig(9, 9, MetaOptimizerConfig(lr=1e-3), UNROLL), roll=watch)
    assert watch.starts == [0, 5, 10, 15, 0, 5, 10, 15, 0]
    assert [ticket.ordinal for ticket in watch.tickets] == [0] * 4 + [1] * 4 + [2]
    assert {ticket.n_train for ticket in watch.tickets} == {20}
    assert {ticket.behaviour for ticket in watch.tickets} == {"student"}
    seeds = {spec.seed for ticket in watch.tickets for spec in ticket.specs}
    assert len(seeds) == 3 * TUNE.count, "every episode draws its tasks afresh"
    assert not seeds & {spec.seed for spec in HELD_OUT.specs()}


def test_a_timid_rule_gets_better_on_runs_it_was_not_tuned_on() -> None:
    config = FinetuneConfig(60, 20, MetaOptimizerConfig(lr=0.05), UNROLL)
    tuned = finetune(TIMID, TUNE, HELD_OUT, 40, config)
    start = score(TIMID, TIMID.init_phi(), HELD_OUT, 40)
    assert tuned.history[0][1] == pytest.approx(start.mean_loss)
    assert [update for update, _ in tuned.history] == [0, 20, 40, 60]
    assert tuned.score.mean_loss < 0.7 * start.mean_loss
    assert tuned.score.mean_loss == min(loss for _, loss in tuned.history)
    again = score(tuned.rule, tuned.rule.init_phi(), HELD_OUT, 40)
    assert again.mean_loss == pytest.approx(tuned.score.mean_loss, rel=1e-5)
    assert tuned.rule.clamp == TIMID.clamp
    assert tuned == finetune(TIMID, TUNE, HELD_OUT, 40, config), "same seed, same result"


def test_the_best_iterate_is_kept_never_the_last_by_default() -> None:
    wild = finetune(TIMID, TUNE, HELD_OUT, 20, FinetuneConfig(10, 2, MetaOptimizerConfig("sgd", lr=1e3), UNROLL))
    assert wild.history[-1][1] > wild.history[0][1]
    assert wild.update == 0
    assert wild.rule == TIMID


def test_gradients_that_are_not_finite_are_skipped_and_counted() -> None:
    config = FinetuneConfig(3, 3, MetaOptimizerConfig(lr=0.1), UNROLL)
    tuned = finetune(TIMID, TUNE, HELD_OUT, 20, config, roll=_Watch(spoil=True))
    assert tuned.skipped == 3
    assert tuned.rule == TIMID


def test_no_updates_hand_the_rule_back() -> None:
    tuned = finetune(TIMID, TUNE, HELD_OUT, 20, FinetuneConfig(updates=0))
    assert (tuned.rule, tuned.update, len(tuned.history)) == (TIMID, 0, 1)


def test_scales_make_coefficients_shares_of_the_spread() -> None:
    expression = Expression.linear({Signal("g"): -200.0, Ema("q", 0.9): -0.1})
    scales = coefficient_scales(expression, {Signal("g"): 1e-3, Ema("q", 0.9): 0.5})
    assert scales is not None
    shares = torch.tensor([0.2, 0.05])
    rms = shares.square().mean().sqrt().item()
    torch.testing.assert_close(scales, torch.tensor([rms / 1e-3, rms / 0.5], dtype=torch.float64))
    # Constants over scales have the sign and proportion of the shares, and rms 1.
    normalised = torch.tensor(expression.constants, dtype=torch.float64) / scales
    assert float(normalised.square().mean()) == pytest.approx(1.0)
    assert coefficient_scales(SymbolicRule.from_formula("-0.1*tanh(g)").expression, {Signal("g"): 1.0}) is None


def test_without_scales_every_constant_moves_by_its_own_size() -> None:
    watch = _Watch()
    rule = SymbolicRule.from_formula("-0.2*g - 0.0001*ema(g, 0.9) + 0*ema(g, 0.5)")
    finetune(rule, TUNE, HELD_OUT, 20, FinetuneConfig(2, 2, MetaOptimizerConfig(lr=0.01), UNROLL), roll=watch)
    before, after = (phi["coefficients"].double() for phi in watch.phis)
    # Adam's first step is its learning rate in every normalised number.
    rms = float(before.square().mean().sqrt())
    torch.testing.assert_close(
        (after - before).abs(), torch.tensor([0.002, 0.000001, 0.01 * rms]).double(), rtol=1e-2, atol=0
    )


def test_rules_that_cannot_be_tuned_and_bad_settings_are_refused() -> None:
    for rule in (replace(TIMID, gain=0.0), replace(TIMID, gain=-1.0), SymbolicRule.from_formula("neg(g)")):
        with pytest.raises(UserError, match="positive gain and at least one constant"):
            finetune(rule, TUNE, HELD_OUT, 20)
    with pytest.raises(UserError, match="updates >= 0"):
        FinetuneConfig(updates=-1)
    with pytest.raises(UserError, match="check_every"):
        FinetuneConfig(check_every=0)
