"""Columns of a table as leaves of formulas: named safely, written and read back, never read by a rule."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Unary, Var
from rayl2o.rules.operands import MAX_NAME, Operand, OperandBank, Signal, Variable, column_operand
from rayl2o.rules.operators import SATURATION
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.symbolic import SymbolicRule

X1, X2 = Variable("x1"), Variable("x2")
FORMULA = Expression(Binary("+", Binary("*", Const(2.0), Var(X1)), Unary("tanh", Var(X2))))


def test_text_and_json_lose_nothing() -> None:
    assert str(FORMULA) == "2.0*x1 + tanh(x2)"
    assert parse_expression(str(FORMULA), columns=("x1", "x2")) == FORMULA
    assert Expression.from_json(FORMULA.to_json()) == FORMULA
    assert FORMULA.to_json()["args"][0]["args"][1] == {"variable": "x1"}  # type: ignore[index]
    assert FORMULA.operands == (X1, X2)


def test_evaluates_columns_saturated() -> None:
    x: dict[Operand, torch.Tensor] = {X1: torch.tensor([1.0, 1e30]), X2: torch.tensor([0.5, 0.0])}
    torch.testing.assert_close(FORMULA.evaluate(x), torch.tensor([2.0 + torch.tanh(torch.tensor(0.5)), SATURATION]))


def test_without_columns_a_name_must_be_a_signal() -> None:
    with pytest.raises(UserError, match="unknown signal"):
        parse_expression("2*x1")
    with pytest.raises(UserError, match="unknown signal"):
        parse_expression("2*x1", columns=("x2",))


def test_a_signals_name_stays_a_signal() -> None:
    assert column_operand("t") == Signal("t")
    assert column_operand("time") == Variable("time")
    assert parse_expression("t*x1", columns=("t", "x1")).operands == (Signal("t"), X1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1x",
        "a b",
        "a.b",
        "lambda",
        "None",
        "é",
        "x" * (MAX_NAME + 1),
        "g",
        "t",
        "tanh",
        "spow",
        "lag",
        "ema",
        "x;y",
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(UserError):
        Variable(name)
    with pytest.raises(UserError):
        Expression.from_json({"variable": name})


@pytest.mark.parametrize(
    "data", [{"variable": 1}, {"variable": None}, {"variable": "x", "lag": 1}, {"variable": ["x"]}]
)
def test_bad_json(data: object) -> None:
    with pytest.raises(UserError):
        Expression.from_json(data)


def test_longest_name() -> None:
    assert str(Variable("x" * MAX_NAME)) == "x" * MAX_NAME


def test_rules_refuse_columns() -> None:
    with pytest.raises(UserError, match="not a column of a table: got 'x1'"):
        OperandBank((Signal("g"), X1))
    with pytest.raises(UserError, match="not a column of a table"):
        _ = SymbolicRule(FORMULA).state_size
