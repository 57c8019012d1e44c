"""Rules with weights as optimizers; what every optimizer must do stands in ``test_base.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from rayl2o.errors import UserError
from rayl2o.optim import LearnedOptimizer, SymbolicOptimizer
from rayl2o.optim.learned import rule_digest
from rayl2o.rules.base import Inputs, State
from rayl2o.rules.classic import Adam
from rayl2o.rules.files import save_rule
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from tests.optim.models import trained

RULE = SymbolicRule.from_formula("-0.05*tanh(ema(g_tilde, 0.5)) - 0.01*lag(q, 1)", clamp=0.04, gain=1.5)
PHI = RULE.init_phi()


def test_agrees_with_the_symbolic_optimizer_on_a_formula() -> None:
    """Two ways of stepping the same rule: through its protocol, and fused in place."""
    learned = trained(
        lambda net: LearnedOptimizer(net.parameters(), RULE, RULE.init_phi(dtype=torch.float64)), 7, torch.float64
    )
    symbolic = trained(lambda net: SymbolicOptimizer(net.parameters(), RULE), 7, torch.float64)
    torch.testing.assert_close(learned, symbolic, rtol=1e-10, atol=1e-13)


def test_a_hand_made_rule_is_its_torch_twin() -> None:
    ours = trained(lambda net: LearnedOptimizer(net.parameters(), Adam(lr=0.01), {}), 10, torch.float64)
    twin = trained(lambda net: torch.optim.Adam(net.parameters(), lr=0.01), 10, torch.float64)
    torch.testing.assert_close(ours, twin, rtol=1e-9, atol=1e-12)


def test_from_a_rule_file(tmp_path: Path) -> None:
    network = RnnProp(projection=2, hidden=(3,))
    phi = network.init_phi(torch.Generator().manual_seed(4))
    path = save_rule(tmp_path / "network", network, phi, {})
    optimizer = LearnedOptimizer.from_pretrained(path, [nn.Parameter(torch.ones(1))], lr=0.5)
    assert optimizer.rule == network
    assert all(torch.equal(optimizer.phi[name], phi[name]) for name in phi)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.formula == f"rnnprop, {sum(weight.numel() for weight in phi.values())} weights"


def test_phi_is_copied_and_used() -> None:
    phi = {name: weight.clone().requires_grad_() for name, weight in PHI.items()}
    param = nn.Parameter(torch.ones(2))
    optimizer = LearnedOptimizer([param], RULE, phi)
    phi["gain"].data.fill_(0.0)
    param.grad = torch.ones(2)
    optimizer.step()
    assert float(param[0].detach()) != 1.0
    frozen = nn.Parameter(torch.ones(2))
    frozen.grad = torch.ones(2)
    LearnedOptimizer([frozen], RULE, {**PHI, "gain": torch.tensor(0.0)}).step()
    assert torch.equal(frozen, torch.ones(2))


def test_digest_knows_rule_and_weights() -> None:
    digest = rule_digest(RULE, PHI)
    assert digest == rule_digest(RULE, {name: weight.clone() for name, weight in PHI.items()})
    nudged = {**PHI, "gain": PHI["gain"] + 1e-6}
    others = {
        rule_digest(RULE, nudged),
        rule_digest(replace(RULE, clamp=0.1), PHI),
        rule_digest(RULE, {"coefficients": PHI["coefficients"]}),
    }
    assert len(others | {digest}) == 4


def test_a_state_of_other_weights_is_refused() -> None:
    param = nn.Parameter(torch.ones(2))
    saved = LearnedOptimizer([param], RULE, PHI).state_dict()
    other = LearnedOptimizer([param], RULE, {**PHI, "gain": torch.tensor(2.0)})
    with pytest.raises(UserError, match="belongs to another rule"):
        other.load_state_dict(saved)


def test_rules_that_need_whole_tensors_are_refused() -> None:
    @dataclass(frozen=True)
    class Whole(SymbolicRule):
        coordinatewise: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Lossy(SymbolicRule):
        needs: ClassVar[frozenset[str]] = frozenset({"loss"})

        def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
            raise AssertionError

    for kind in (Whole, Lossy):
        with pytest.raises(UserError, match="only coordinate-wise rules run here: got 'symbolic'"):
            LearnedOptimizer([nn.Parameter(torch.ones(1))], kind(RULE.expression), PHI)
