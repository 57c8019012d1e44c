"""Algebra on trees: never changes the value, never grows, and finds what is linear."""

from __future__ import annotations

import pytest
import torch

from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Const, Unary, Var, walk
from rayl2o.rules.operands import Ema, Operand, Signal
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.simplify import chain, linear_terms, simplify
from tests.rules.formulas import random_expressions, values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g + g", "2.0*g"),
        ("g - g", "0.0"),
        ("g + 0", "g"),
        ("1*g", "g"),
        ("-1*g", "-g"),
        ("0*tanh(g)", "0.0"),
        ("-(-(g))", "g"),
        ("-0.1*(g + ema(g, 0.9)) - g/4", "-0.35*g + -0.1*ema(g, 0.9)"),
        ("2*g*3*q", "6.0*(g*q)"),
        ("tanh(2*3) * g", "0.9999877116507956*g"),
        ("tanh(g + g) - tanh(2*g)", "0.0"),
        ("(2*g)/q + g/q", "3.0*(g/q)"),
        ("1 + g + 2", "g + 3.0"),
        ("m_tilde - g", "m_tilde - g"),
        ("0.5/g", "0.5/g"),
        ("g/0", "100000000.0*g"),
        ("spow(4, 0.5)*g", "2.0*g"),
        ("square(-2*g)", "4.0*square(g)"),
        ("abs(-2*g)*0.5", "abs(g)"),
        ("sign(-3*g)", "-sign(g)"),
        ("relu(2*g)", "2.0*relu(g)"),
        ("relu(-2*g)", "relu(-2.0*g)"),
        ("ssqrt(-4*g)", "-2.0*ssqrt(g)"),
        ("spow(-4*g, 1.5)", "-8.0*spow(g, 1.5)"),
        ("spow(2*g, -1)", "spow(2.0*g, -1.0)"),
        ("square(2*g + 2*q)", "4.0*square(g + q)"),
        ("0.5*((2*g + 4*q)/tanh(g))", "(g + 2.0*q)/tanh(g)"),
        ("(2*g + 2*q)/tanh(g)", "2.0*((g + q)/tanh(g))"),
    ],
)
def test_simplifies(text: str, expected: str) -> None:
    root = simplify(parse_expression(text).root)
    simple = str(Expression(root))
    torch.testing.assert_close(
        torch.tensor(Expression(root).constants), torch.tensor(parse_expression(expected).constants), rtol=1e-12, atol=0
    )
    assert Expression(root).with_constants(parse_expression(expected).constants) == parse_expression(expected), simple


def test_random_formulas_keep_their_value_and_never_grow() -> None:
    shrunk = 0
    for expression in random_expressions(300):
        simple = expression.simplify()
        assert simple.complexity <= expression.complexity
        assert simple.simplify().complexity <= simple.complexity
        shrunk += simple.complexity < expression.complexity
        before, after = expression.evaluate(values()), simple.evaluate(values())
        scale = 1e-9 * (1.0 + before.abs().max())
        if before.abs().max() < 1e6:  # beyond that, saturation and cancellation may differ
            torch.testing.assert_close(
                after.expand_as(before), before, rtol=1e-6, atol=float(scale), msg=str(expression)
            )
    assert shrunk > 50


def test_leaves_alone_what_would_leave_the_limits() -> None:
    root = parse_expression("(1e12*g)*1e12").root
    assert simplify(root) == root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0.1*g", {"g": -0.1}),
        ("g", {"g": 1.0}),
        ("0.0", {}),
        ("g - g", {}),
        ("2*(g - 0.5*ema(g, 0.9))/4 + -g", {"g": -0.5, "ema(g, 0.9)": -0.25}),
        ("tanh(0)*3 + g*tanh(0)", {}),
        ("g + 1", None),
        ("g*q", None),
        ("tanh(g)", None),
        ("1/g", None),
        ("g*g - g*g + q", {"q": 1.0}),
    ],
)
def test_linear_terms(text: str, expected: dict[str, float] | None) -> None:
    terms = linear_terms(parse_expression(text).root)
    assert (None if terms is None else {str(operand): weight for operand, weight in terms.items()}) == expected


@pytest.mark.parametrize("count", [1, 2, 50, 51, 240])
def test_long_sums_stay_shallow(count: int) -> None:
    total = Expression(chain([Unary("tanh", Var(Signal("g")))] * count))
    assert total.complexity == 3 * count - 1
    assert total.depth < 60
    assert sum(isinstance(node, Const) for node, _ in walk(total.root)) == 0
    g = torch.tensor([0.3], dtype=torch.float64)
    torch.testing.assert_close(total.evaluate({Signal("g"): g}), count * torch.tanh(g))


def test_round_trip_of_many_terms() -> None:
    terms: dict[Operand, float] = {Ema("g", i / 241): float(i) for i in range(1, 240)}
    assert Expression.linear(terms).linear_terms() == terms
