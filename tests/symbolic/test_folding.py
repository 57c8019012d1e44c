"""What an engine found in its units is the same formula in the rule's units."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.nodes import Node
from rayl2o.rules.operands import Ema, Operand, Signal, Variable
from rayl2o.rules.parse import parse_expression
from rayl2o.symbolic.folding import folded, scaled

LEAVES: dict[Operand, Node] = {Variable("x0"): scaled(Signal("g"), 0.2), Variable("x1"): scaled(Ema("g", 0.9), 0.05)}


@pytest.mark.parametrize("text", ["x0 - 2*x1", "tanh(x0)*x1", "exp(x0)/(1 + square(x1))", "spow(x0, 0.7) + sinh(x1)"])
def test_values_are_the_same(text: str) -> None:
    formula = parse_expression(text, ("x0", "x1"))
    g, ema = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = 0.3 * formula.evaluate({Variable("x0"): g / 0.2, Variable("x1"): ema / 0.05})
    got = folded(formula, LEAVES, 0.3).evaluate({Signal("g"): g, Ema("g", 0.9): ema})
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_a_linear_formula_stays_as_small_as_it_was() -> None:
    formula = parse_expression("0.5*x0 - 2*x1", ("x0", "x1"))
    assert folded(formula, LEAVES, 0.3).complexity == formula.complexity


def test_an_unknown_column_and_a_constant_beyond_the_limits_are_refused() -> None:
    with pytest.raises(UserError, match="lacks"):
        folded(parse_expression("x0 + x7", ("x0", "x7")), LEAVES, 1.0)
    tiny: dict[Operand, Node] = {Variable("x0"): scaled(Signal("g"), 1e-15)}
    with pytest.raises(UserError, match="bad constant"):
        folded(parse_expression("tanh(x0)", ("x0",)), tiny, 1.0)
