"""Runs: roles never share a draw, repeats see the same numbers."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.runs import ROLES, Runs, play
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.networks.mlp import MLP

FAMILY = MLP(hidden=(4,), batch_size=16)


def test_roles_and_runs_never_share_a_seed() -> None:
    runs = [Runs(FAMILY, 3, role, 4) for role in ROLES]
    inits = [seed for r in runs for seed in r.init_seeds()]
    batches = [seed for r in runs for step in range(5) for seed in r.batch_seeds()(step)]
    assert len(set(inits)) == len(inits) == 24
    assert len(set(batches)) == len(batches) == 120
    assert not set(inits) & set(batches)


def test_tasks_are_drawn_per_role_and_run() -> None:
    specs = [spec for role in ROLES for spec in Runs(Quadratic(), 0, role, 3).specs()]
    assert len({spec.seed for spec in specs}) == 18
    assert Runs(Quadratic(), 0, "select", 2).specs() == Runs(Quadratic(), 0, "select", 3).specs()[:2]


def test_repeats_are_paired() -> None:
    runs = Runs(FAMILY, 0, "select", 2)
    assert runs.init_seeds(3) == runs.init_seeds() * 3
    assert runs.batch_seeds(3)(7) == runs.batch_seeds()(7) * 3
    rule = SymbolicRule.from_formula("-0.1*g")
    once = play(rule, rule.init_phi(), runs, 5)
    thrice = play(rule, rule.init_phi(), runs, 5, repeat=3)
    torch.testing.assert_close(thrice.loss, once.loss.repeat(3, 1))


def test_a_gain_per_row_acts_on_its_row() -> None:
    runs = Runs(FAMILY, 0, "select", 2)
    rule = SymbolicRule.from_formula("-0.1*g")
    both = play(rule, {**rule.init_phi(), "gain": torch.tensor([[1.0], [1.0], [3.0], [3.0]])}, runs, 10, repeat=2)
    strong = SymbolicRule.from_formula("-0.1*g", gain=3.0)
    torch.testing.assert_close(both.loss[2:], play(strong, strong.init_phi(), runs, 10).loss)
    assert not torch.equal(both.loss[:2], both.loss[2:])


def test_bad_roles_and_counts_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'select'"):
        Runs(FAMILY, 0, "selct", 2)
    with pytest.raises(UserError, match="select runs must be positive"):
        Runs(FAMILY, 0, "select", 0)
