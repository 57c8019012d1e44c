"""Closed loop decides, divergence is out, and the one-gain control finds the best gain."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Operand, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.runs import Runs, play
from rayl2o.symbolic.selection import TRAIL, score, scores, search_gain, select
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.networks.mlp import MLP

FAMILY = MLP(hidden=(), batch_size=32)
RUNS = Runs(FAMILY, 0, "select", 3)
STEPS = 60


def _candidate(weight: float, r2_val: float, terms: int = 1, clamp: float = 1e6) -> Candidate:
    operands: tuple[Operand, ...] = (Signal("g"), *(Ema("g", beta) for beta in (0.5, 0.8, 0.9)))
    weights = dict(zip(operands[:terms], [weight, *[0.0] * 3], strict=False))
    return Candidate(Expression.linear(weights), "by hand", clamp, r2_val, r2_val, r2_val, r2_val, {})


def test_a_score_is_the_mean_over_runs_and_horizon() -> None:
    rule = SymbolicRule.from_formula("-0.5*g")
    result = score(rule, rule.init_phi(), RUNS, STEPS)
    curves = play(rule, rule.init_phi(), RUNS, STEPS)
    assert result.mean_loss == pytest.approx(float(curves.loss.mean()))
    assert result.per_run == pytest.approx(curves.loss.mean(1).tolist())
    assert result.diverged == 0
    step, low, middle, high = result.trail[-1]
    tails = curves.loss[:, -20:].double().mean(1)
    assert step == STEPS
    assert middle == pytest.approx(float(tails.median()), rel=1e-5)
    assert low <= middle <= high
    assert "trail" not in result.to_json()
    assert len(result.whole_json()["trail"]) == len(result.trail) <= TRAIL


def test_scores_of_several_settings_are_those_of_each() -> None:
    rule = SymbolicRule.from_formula("-0.1*g")
    gains = torch.tensor([1.0, 5.0]).repeat_interleave(3)[:, None]
    together = scores(rule, {**rule.init_phi(), "gain": gains}, RUNS, STEPS, 2)
    for gain, result in zip((1.0, 5.0), together, strict=True):
        alone = score(replace(rule, gain=gain), replace(rule, gain=gain).init_phi(), RUNS, STEPS)
        assert result.per_run == pytest.approx(alone.per_run, rel=1e-5)


def test_ending_above_the_start_counts_as_divergence() -> None:
    climbing = SymbolicRule.from_formula("0.01*sign(g)")
    assert score(climbing, climbing.init_phi(), RUNS, STEPS).diverged == 3
    exploding = SymbolicRule.from_formula("-1000*g")
    assert score(exploding, exploding.init_phi(), Runs(Quadratic(), 0, "select", 2), STEPS).diverged == 2


def test_closed_loop_chooses_not_r2() -> None:
    front = Front.of([_candidate(-0.5, 0.5), _candidate(-0.01, 0.7, terms=2), _candidate(-0.002, 0.9, terms=3)])
    selection = select(front, RUNS, STEPS)
    assert selection.chosen.expression == front.candidates[0].expression
    losses = [c.closed_loop for c in selection.front.candidates]
    assert losses == sorted(losses, key=lambda x: x or 0.0)
    assert selection.chosen.closed_loop == selection.score.mean_loss == losses[0]
    assert [c.r2_val for c in selection.front.candidates] == [0.5, 0.7, 0.9]


def test_of_near_equals_the_simplest_is_chosen() -> None:
    front = Front.of([_candidate(-0.5, 0.5), _candidate(-0.505, 0.7, terms=2), _candidate(-1.0, 0.9, terms=3)])
    losses = [c.closed_loop or 0.0 for c in select(front, RUNS, STEPS).front.candidates]
    assert losses[0] > losses[1] > losses[2]
    assert losses[0] < 1.02 * losses[1]
    assert select(front, RUNS, STEPS).chosen.r2_val == 0.9
    two = Front.of(front.candidates[:2])
    assert select(two, RUNS, STEPS).chosen.r2_val == 0.5
    assert select(two, RUNS, STEPS, tolerance=0.0).chosen.r2_val == 0.7


def test_whoever_diverged_is_out_and_says_so() -> None:
    front = Front.of([_candidate(-0.01, 0.5), _candidate(0.5, 0.9, terms=2)])
    selection = select(front, RUNS, STEPS)
    assert selection.chosen.r2_val == 0.5
    assert [c.diverged for c in selection.front.candidates] == [0, 3]
    with pytest.raises(UserError, match="every candidate diverged"):
        select(Front.of([_candidate(0.5, 0.9)]), RUNS, STEPS)
    with pytest.raises(UserError, match="no candidate passed the guards"):
        select(Front.of([]), RUNS, STEPS)


def test_thinning_and_the_map_are_respected() -> None:
    asked: list[int] = []

    def reversed_map(work: Callable[[Any], Any], jobs: Iterable[Any]) -> list[Any]:
        listed = list(jobs)
        asked.append(len(listed))
        return [work(job) for job in reversed(listed)][::-1]

    front = Front.of([_candidate(-0.1 * i, 0.1 * i, terms=i) for i in (1, 2, 3, 4)])
    selection = select(front, RUNS, 20, most=2, pmap=reversed_map)
    assert asked == [2]
    assert [c.closed_loop is None for c in selection.front.candidates] == [False, True, True, False]
    assert select(front, RUNS, 20, most=2).score == selection.score


def test_the_gain_of_a_timid_rule_is_found() -> None:
    """On a quadratic the best step size is known: the search must land near the best of a fine grid."""
    runs = Runs(Quadratic(size=3, log10_smallest=-0.5), 0, "select", 3)
    rule = SymbolicRule.from_formula("-0.4*g")
    found = search_gain(rule, rule.init_phi(), runs, 30)
    fine = {
        g / 10: score(replace(rule, gain=g / 10), replace(rule, gain=g / 10).init_phi(), runs, 30) for g in range(5, 51)
    }
    best = min(result.mean_loss for result in fine.values() if not result.diverged)
    assert found.score.mean_loss <= best * 1.02
    assert not found.on_edge
    assert found.gain > 1
    by_itself = score(replace(rule, gain=found.gain), replace(rule, gain=found.gain).init_phi(), runs, 30)
    assert by_itself.mean_loss == pytest.approx(found.score.mean_loss, rel=1e-5)


def test_a_gain_is_never_behind_the_plain_rule() -> None:
    rule = SymbolicRule.from_formula("-0.5*g")
    plain = score(rule, rule.init_phi(), RUNS, STEPS)
    found = search_gain(rule, rule.init_phi(), RUNS, STEPS, low=0.01, high=0.1, points=3)
    assert found.score.mean_loss <= plain.mean_loss * (1 + 1e-6)
    assert found.gain >= 1.0
    assert [gain for gain, _ in found.tried] == sorted(gain for gain, _ in found.tried)
    assert 1.0 in dict(found.tried)


def test_a_grid_is_extended_while_its_best_is_on_the_edge() -> None:
    runs = Runs(Quadratic(size=3, log10_smallest=-0.5), 0, "select", 2)
    for formula in ("-0.02*g", "-1.9*g"):
        rule = SymbolicRule.from_formula(formula)
        found = search_gain(rule, rule.init_phi(), runs, 20, low=0.8, high=1.25, points=3)
        assert max(gain for gain, _ in found.tried) > 1.3 or min(gain for gain, _ in found.tried) < 0.75
    still = SymbolicRule.from_formula("-0.000001*g")
    assert search_gain(still, still.init_phi(), runs, 20, low=0.8, high=1.25, points=3).on_edge


def test_bad_grids_and_hopeless_rules_are_refused() -> None:
    rule = SymbolicRule.from_formula("-0.1*g")
    with pytest.raises(UserError, match="gain grid"):
        search_gain(rule, rule.init_phi(), RUNS, 10, low=2.0, high=1.0)
    up = SymbolicRule.from_formula("0.1*g")
    with pytest.raises(UserError, match="every gain diverged"):
        search_gain(up, up.init_phi(), RUNS, STEPS)
