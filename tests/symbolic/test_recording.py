"""A record in parts is the record, whoever makes the parts; stretched answers are the rule's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from rayl2o.rules.registry import make
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.symbolic.recording import PART, collect_all, joined, stretched
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.trajectories import collect
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.networks.mlp import MLP
from tests.symbolic.recorded import recorded

FAMILY = MLP(hidden=(4,), batch_size=16)
RULE = SymbolicRule.from_formula("-0.1*g - 0.2*ema(g, 0.9)")


def _backwards(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """A pmap that works from the end, as workers may."""
    return [function(item) for item in reversed(list(items))][::-1]


def test_parts_are_the_runs_by_number() -> None:
    runs = Runs(FAMILY, 0, "collect", PART + 2)
    whole = collect_all(RULE, RULE.init_phi(), runs, 20, 4)
    assert sorted(set(whole.run.tolist())) == list(range(PART + 2))
    last = collect(RULE, RULE.init_phi(), Runs(FAMILY, 0, "collect", 2, first=PART), 20, 4)
    inside = whole.run >= PART
    assert torch.equal(whole.grad[:, inside], last.grad)
    assert torch.equal(whole.tensor[inside], last.tensor)
    assert whole.depths == FAMILY.layout.depths


def test_the_record_does_not_depend_on_who_makes_it() -> None:
    runs = Runs(FAMILY, 0, "collect", PART + 1)
    one, other = (collect_all(RULE, RULE.init_phi(), runs, 10, 4, pmap=pmap) for pmap in (map, _backwards))
    assert torch.equal(one.grad, other.grad)
    assert torch.equal(one.run, other.run)


def test_a_part_that_ended_early_is_filled_up_and_does_not_count() -> None:
    long, short = recorded(RULE, steps=30), recorded(RULE, steps=12, seed=1)
    both = joined([long, short])
    assert both.steps == 30
    assert both.valid.tolist() == [30] * 32 + [12] * 32
    assert not bool(both.grad[12:, 32:].any())


def test_stretched_answers_are_the_rules_own() -> None:
    run = recorded(RULE)
    linear = stretched(RULE, RULE.init_phi(dtype=torch.float64), run, 3.0)
    assert linear is not None
    torch.testing.assert_close(linear.delta, 3.0 * run.delta)
    torch.testing.assert_close(linear.grad, 3.0 * run.grad)
    network = RnnProp(projection=3, hidden=(4,))
    phi = network.init_phi(generator(0, "test"), torch.float64)
    near, far = (stretched(network, phi, run, factor) for factor in (1.0, 3.0))
    assert near is not None
    assert far is not None
    torch.testing.assert_close(far.delta, near.delta, rtol=1e-5, atol=1e-9)  # its features do not see the scale


def test_what_reads_parameters_cannot_be_asked() -> None:
    assert stretched(make("adamw", {}), {}, recorded(RULE), 3.0) is None


@pytest.mark.parametrize(("size", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (8, [5])])
def test_runs_are_cut_into_parts(size: int, sizes: list[int]) -> None:
    runs = Runs(Quadratic(), 0, "collect", 5)
    parts = runs.parts(size)
    assert [part.count for part in parts] == sizes
    assert [seed for part in parts for seed in part.init_seeds()] == runs.init_seeds()
    assert [spec for part in parts for spec in part.specs()] == runs.specs()
