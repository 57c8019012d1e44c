"""Recording: what went in and came out, balanced over tensors, dead coordinates left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.trajectories import collect
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.networks.mlp import MLP

FAMILY = MLP(hidden=(12,), batch_size=32)
RULE = SymbolicRule.from_formula("-0.1*g - 0.2*ema(g, 0.9)")


def test_the_record_is_what_the_rule_saw_and_did() -> None:
    recorded = collect(RULE, RULE.init_phi(), Runs(FAMILY, 0, "collect", 2), 30, per_tensor=6)
    assert recorded.grad.shape == recorded.delta.shape == (30, len(recorded.tensor))
    time = torch.arange(30.0)[:, None]
    start = {"coord": torch.zeros(recorded.grad.shape[1], RULE.state_size)}
    answer, _ = RULE.sequence(RULE.init_phi(), Inputs(grad=recorded.grad, step=time), start)
    torch.testing.assert_close(answer, recorded.delta, rtol=1e-5, atol=1e-9)
    assert bool((recorded.valid == 30).all())


def test_tensors_and_runs_are_balanced_and_live() -> None:
    recorded = collect(RULE, RULE.init_phi(), Runs(FAMILY, 0, "collect", 3), 20, per_tensor=6)
    counts = dict.fromkeys(recorded.cells(), 0)
    for cell in zip(recorded.run.tolist(), recorded.tensor.tolist(), strict=True):
        counts[cell] += 1
    assert len(counts) == 3 * 4
    assert set(counts.values()) == {6}
    assert bool((recorded.grad != 0).any(0).all())
    assert recorded.tensors == FAMILY.layout.names
    # Digits have pixels that are never lit: some candidates of the first layer must have been found dead.
    assert 0 < recorded.dead_share < 1


def test_same_seed_same_record_and_runs_differ() -> None:
    runs = Runs(FAMILY, 0, "collect", 2)
    one, two = (collect(RULE, RULE.init_phi(), runs, 10, per_tensor=4, seed=s) for s in (0, 0))
    assert torch.equal(one.grad, two.grad)
    other = collect(RULE, RULE.init_phi(), runs, 10, per_tensor=4, seed=1)
    assert not torch.equal(one.grad, other.grad)
    assert not torch.equal(one.grad[:, one.run == 0], one.grad[:, one.run == 1])


def test_a_diverged_run_counts_up_to_its_last_sound_step() -> None:
    explosive = SymbolicRule.from_formula("100*g")
    recorded = collect(explosive, explosive.init_phi(), Runs(Quadratic(), 0, "collect", 2), 50, per_tensor=4)
    assert bool((recorded.valid < 50).all())
    assert bool((recorded.valid > 0).all())
    late = torch.arange(len(recorded.grad))[:, None] >= recorded.valid
    assert bool((recorded.grad[late] == 0).all())
    assert bool(torch.isfinite(recorded.grad).all())


@dataclass(frozen=True)
class _WholeTensor(SymbolicRule):
    coordinatewise: ClassVar[bool] = False


def test_a_rule_of_whole_tensors_is_refused() -> None:
    rule = _WholeTensor(RULE.expression)
    with pytest.raises(UserError, match="only coordinate-wise rules"):
        collect(rule, rule.init_phi(), Runs(FAMILY, 0, "collect", 1), 5)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(UserError, match="ever had a gradient"):
        collect(RULE, RULE.init_phi(), Runs(_Flat(), 0, "collect", 1), 5)


@dataclass(frozen=True)
class _Flat:
    """A family whose gradients are all zero."""

    family: ClassVar[str] = "flat"

    def sample(self, generator: torch.Generator) -> TaskSpec:
        return TaskSpec(self.family)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> QuadraticBatch:
        return QuadraticBatch(Layout.flat(3), torch.zeros(len(specs), 3, 3), torch.zeros(len(specs), 3))
