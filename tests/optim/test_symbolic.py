"""Formulas as optimizers: oracles, the forms that name a rule, and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rayl2o.errors import UserError
from rayl2o.optim import SymbolicOptimizer
from rayl2o.optim.symbolic import as_symbolic_rule
from rayl2o.rules.files import save_rule
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from tests.optim.models import loss_of, model, trained


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_descent_is_torch_sgd(dtype: torch.dtype) -> None:
    ours = trained(lambda net: SymbolicOptimizer(net.parameters(), "-0.1*g"), 10, dtype)
    torch_sgd = trained(lambda net: torch.optim.SGD(net.parameters(), lr=0.1), 10, dtype)
    torch.testing.assert_close(ours, torch_sgd, rtol=1e-6, atol=1e-7)


def test_decay_is_adamws() -> None:
    """At a zero update, AdamW only decays."""
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizers = (
        SymbolicOptimizer([ours], "-1.0*g", lr=0.1, weight_decay=0.3),
        torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.3),
    )
    for _ in range(3):
        for param, optimizer in zip((ours, theirs), optimizers, strict=True):
            param.grad = torch.zeros(3)
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_an_ema_is_torch_momentum_with_dampening() -> None:
    """From torch's second step on: its first momentum is the bare gradient, an ema's is (1 - beta) of it."""
    net, by_hand = model(torch.float64), model(torch.float64)
    optimizer = SymbolicOptimizer(net.parameters(), "-0.5*ema(g, 0.9)")
    means = [torch.zeros_like(param) for param in by_hand.parameters()]
    for step in range(10):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(net, step))
        optimizer.step()
        by_hand.zero_grad()
        torch.autograd.backward(loss_of(by_hand, step))
        for param, mean in zip(by_hand.parameters(), means, strict=True):
            if param.grad is not None:
                mean.mul_(0.9).add_(param.grad, alpha=0.1)
                param.data.sub_(0.5 * mean)
    torch.testing.assert_close(list(net.parameters()), list(by_hand.parameters()), rtol=1e-12, atol=1e-14)


def test_m_tilde_is_torch_adam() -> None:
    ours = trained(lambda net: SymbolicOptimizer(net.parameters(), "-0.01*m_tilde"), 20, torch.float64)
    adam = trained(lambda net: torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.95, 0.95)), 20, torch.float64)
    torch.testing.assert_close(ours, adam, rtol=1e-9, atol=1e-12)


def test_a_linear_formula_in_any_form_is_the_same_optimizer() -> None:
    forms = ("-0.1*g + -0.2*ema(g, 0.5)", "-(g + 2*ema(g, 0.5))/10", "-0.2*ema(g, 0.5) - 0.05*g - 0.05*g")

    def with_form(form: str) -> list[Tensor]:
        return trained(lambda net: SymbolicOptimizer(net.parameters(), form), 6, torch.float64)

    results = [with_form(form) for form in forms]
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(results[2], results[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("formula", ["g - g", "0.0"])
def test_no_update_from_nothing(formula: str) -> None:
    after = trained(lambda net: SymbolicOptimizer(net.parameters(), formula), 2)
    assert all(torch.equal(a, b) for a, b in zip(after, model().parameters(), strict=True))


def test_clamp_and_gain() -> None:
    param = nn.Parameter(torch.zeros(3))
    param.grad = torch.tensor([-5.0, 0.01, 5.0])
    SymbolicOptimizer([param], SymbolicRule.from_formula("-1.0*g", clamp=0.5, gain=2.0), lr=0.1).step()
    torch.testing.assert_close(param.detach(), torch.tensor([0.1, -0.002, -0.1]))


def test_what_names_a_rule(tmp_path: Path) -> None:
    rule = SymbolicRule.from_formula("-0.1*g", clamp=1.0)
    assert as_symbolic_rule(rule) is rule
    assert as_symbolic_rule(rule.expression) == SymbolicRule(rule.expression)
    assert as_symbolic_rule("-0.1*g").expression == parse_expression("-0.1*g")
    path = save_rule(tmp_path / "rule", rule, {}, {})
    assert as_symbolic_rule(str(path)).digest == rule.digest
    optimizer = SymbolicOptimizer.from_pretrained(path, [nn.Parameter(torch.ones(1))], lr=0.5)
    assert optimizer.rule.digest == rule.digest
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.formula == "Δθ = clamp±1(-0.1 g)"


def test_bad_rules_are_user_errors(tmp_path: Path) -> None:
    params = [nn.Parameter(torch.ones(1))]
    network = RnnProp(projection=2, hidden=(3,))
    path = save_rule(tmp_path / "network", network, network.init_phi(torch.Generator()), {})
    with pytest.raises(UserError, match="the file holds no formula: got 'rnnprop'"):
        SymbolicOptimizer.from_pretrained(path, params)
    with pytest.raises(UserError, match="did you mean 'g_tilde'"):
        SymbolicOptimizer(params, "-0.1*gtilde")
    with pytest.raises(UserError):
        SymbolicOptimizer(params, str(tmp_path / "missing.json"))


def test_converges_where_gradient_descent_does() -> None:
    param = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = SymbolicOptimizer([param], "-0.3*ema(g, 0.5)")
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(param.square().sum())
        optimizer.step()
    assert param.abs().max() < 1e-3
