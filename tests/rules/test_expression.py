"""Formulas: what they read, how they evaluate, and that file and text forms lose nothing."""

from __future__ import annotations

import json
import math

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression, read_json
from rayl2o.rules.nodes import Const, Unary, Var
from rayl2o.rules.operands import Ema, Lag, Operand, Signal
from rayl2o.rules.operators import SATURATION
from rayl2o.rules.parse import parse_expression
from tests.rules.formulas import FORMULAS, OPERANDS, random_expressions, values

FORMULA = parse_expression("-0.5*ema(g_tilde, 0.9) + tanh(lag(g, 2) - 3)*g + g/2")


def test_what_it_reads() -> None:
    assert FORMULA.operands == (Ema("g_tilde", 0.9), Lag("g", 2), Signal("g"))
    assert FORMULA.constants == (-0.5, 3.0, 2.0)
    assert FORMULA.complexity == 14
    assert FORMULA.depth == 6
    assert Expression(Const(1.0)).depth == Expression(Const(1.0)).complexity == 1


def test_evaluates_like_the_formula_written_out() -> None:
    v = {**values(), Signal("q"): torch.randn(7, dtype=torch.float64)}
    e, lagged, g = v[Ema("g_tilde", 0.9)], v[Lag("g", 2)], v[Signal("g")]
    torch.testing.assert_close(FORMULA.evaluate(v), -0.5 * e + torch.tanh(lagged - 3) * g + g / 2)


def test_takes_other_constants_and_differentiates_in_both() -> None:
    v = {operand: value.requires_grad_() for operand, value in values().items()}
    constants = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.equal(FORMULA.evaluate(v, constants), FORMULA.with_constants([2.0, -1.0, 0.5]).evaluate(v))

    def f(c: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return FORMULA.evaluate(dict(zip(OPERANDS, rest, strict=True)), c)

    assert torch.autograd.gradcheck(f, (constants, *v.values()))


@pytest.mark.parametrize("text", FORMULAS)
def test_vmap_over_constants(text: str) -> None:
    expression = parse_expression(text)
    v = {operand: torch.randn(3) for operand in expression.operands}
    table = torch.tensor([expression.constants] * 4) * torch.tensor([[1.0], [2.0], [0.5], [-1.0]])
    batched = torch.func.vmap(lambda c: expression.evaluate(v, c).expand(3))(table)
    for row, constants in zip(batched, table, strict=True):
        torch.testing.assert_close(row, expression.evaluate(v, constants).expand(3))


def test_finite_for_any_finite_input() -> None:
    big = {operand: torch.tensor([3e38, -3e38, 1e-38, 0.0], requires_grad=True) for operand in OPERANDS}
    for expression in random_expressions(200):
        value = expression.evaluate(big)
        assert value.isfinite().all(), str(expression)


def test_finite_slopes_at_zero() -> None:
    zero = {operand: torch.zeros(3, requires_grad=True) for operand in OPERANDS}
    for expression in random_expressions(200):
        value = expression.evaluate(zero).sum()
        if expression.operands:
            slopes = torch.autograd.grad(value, [zero[o] for o in expression.operands], allow_unused=True)
            assert all(slope is None or slope.isfinite().all() for slope in slopes), str(expression)


def test_float32_agrees_with_float64() -> None:
    draws = torch.Generator().manual_seed(0)
    for text in FORMULAS:
        expression = parse_expression(text)
        double = {o: torch.rand(50, dtype=torch.float64, generator=draws) for o in expression.operands}
        single = {operand: value.float() for operand, value in double.items()}
        torch.testing.assert_close(
            expression.evaluate(single).double(), expression.evaluate(double), rtol=1e-5, atol=1e-6, check_dtype=False
        )


def test_json_and_text_lose_nothing() -> None:
    for expression in [*random_expressions(300), *map(parse_expression, FORMULAS)]:
        text = json.dumps(expression.to_json())
        assert Expression.from_json(json.loads(text)) == expression
        assert Expression.from_json(text) == expression
        assert parse_expression(str(expression)) == expression, str(expression)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5_000 + "]" * 5_000, "nested too deeply|not a node"),
        ('{"op": "neg", "args": [' * 5_000 + '{"signal": "g"}' + "]}" * 5_000, "nested too deeply"),
        ("{", "not JSON"),
        ("", "not JSON"),
        ('{"const": NaN}', "bad constant"),
        ('{"const": -Infinity}', "bad constant"),
        ('{"const": ' + "9" * 6_000 + "}", "not JSON|bad constant"),
        ('"g"', "not a node"),
    ],
)
def test_bad_json_text_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Expression.from_json(text)
    assert "\n" not in str(caught.value)


def test_read_json() -> None:
    assert read_json('{"a": [1, 2.5]}') == {"a": [1, 2.5]}


def test_linear_is_canonical() -> None:
    terms: dict[Operand, float] = {Ema("g", 0.9): -0.3, Signal("g"): -0.1, Lag("q", 1): 0.02}
    expression = Expression.linear(terms)
    assert str(expression) == "-0.3*ema(g, 0.9) + -0.1*g + 0.02*lag(q, 1)"
    assert expression.linear_terms() == terms
    assert expression.constants == tuple(terms.values())
    assert expression.operands == tuple(terms)
    assert expression.is_canonical_linear
    assert Expression.linear({}) == Expression(Const(0.0))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("-0.1*g", True),
        ("-0.1*g + 0.2*q", True),
        ("-0.1*g + 0.2*g", False),
        ("-0.1*g - 0.2*q", False),
        ("g*-0.1", False),
        ("g", False),
        ("0.0", False),
        ("tanh(0.1*g)", False),
        ("0.1*g + (0.2*q + 0.3*t)", False),
    ],
)
def test_recognizes_the_canonical_form(text: str, canonical: bool) -> None:
    assert parse_expression(text).is_canonical_linear is canonical


def test_rounding_and_simplifying() -> None:
    expression = parse_expression("-0.123456*g + 98765.4*q + 0.000123456*t")
    assert expression.rounded(3).constants == (-0.123, 98800.0, 0.000123)
    assert str(parse_expression("g + g").simplify()) == "2.0*g"


def test_with_constants_refuses() -> None:
    with pytest.raises(ValueError, match="has 3 constants, got 1"):
        FORMULA.with_constants([1.0])
    with pytest.raises(UserError, match="bad constant"):
        FORMULA.with_constants([1.0, math.nan, 1.0])
    with pytest.raises(UserError, match="bad constant"):
        FORMULA.with_constants([1.0, 2 * SATURATION, 1.0])


def test_is_checked_when_made() -> None:
    with pytest.raises(UserError, match="unknown operator"):
        Expression(Unary("cosh", Var(Signal("g"))))
    assert hash(FORMULA) == hash(Expression.from_json(FORMULA.to_json()))
