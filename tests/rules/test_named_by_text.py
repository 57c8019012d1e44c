"""Shipped formulas wherever rules go by name: listed, evaluated, stepped with; never as a teacher."""

from __future__ import annotations

import pytest
import torch

from rayl2o.cli.rule_argument import kind_of, load
from rayl2o.errors import UserError
from rayl2o.optim.symbolic import SymbolicOptimizer
from rayl2o.rules.named import named_rules, read_named
from rayl2o.rules.registry import GROUP, parse_rule, rules


def test_they_are_listed_with_their_bytes() -> None:
    listed = {info.name: info for info in rules()}
    assert set(named_rules()) <= set(listed)
    assert listed["distilled-rnnprop-8b"].state_bytes == 8
    assert listed["symbolic-l2o-eq7a"].defaults == {"gain": 1.0, "clamp": None}
    assert "7a" in listed["symbolic-l2o-eq7a"].summary
    assert set(named_rules()) <= GROUP.built_in


def test_a_rule_argument_may_be_one() -> None:
    loaded = load("symbolic-l2o-eq7a:gain=0.5")
    assert kind_of(loaded) == "formula"
    assert loaded.phi.keys() == {"coefficients", "gain"}
    assert float(loaded.phi["gain"]) == 0.5
    assert loaded.card["source"].endswith("eq. 7a (appendix A)")


def test_a_torch_optimizer_may_be_one() -> None:
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = SymbolicOptimizer([param], "distilled-rnnprop-8b")
    for _ in range(5):
        optimizer.zero_grad()
        param.square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert optimizer.rule.digest == read_named("distilled-rnnprop-8b").digest
    assert bool((param < 1).all())


def test_a_teacher_may_not() -> None:
    with pytest.raises(UserError, match="formula of its own"):
        parse_rule("symbolic-l2o-eq7a")
