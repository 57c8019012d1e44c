"""Constants: found again from a wrong start, and rounded only as far as the fit bears."""

from __future__ import annotations

import numpy as np
import pytest

from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Unary, Var
from rayl2o.rules.operands import Variable
from rayl2o.rules.parse import parse_expression
from rayl2o.symbolic.engines.evolved_member import Divisor, Member
from rayl2o.symbolic.engines.evolved_values import columns_of
from rayl2o.symbolic.engines.polish import polished, rounded
from rayl2o.symbolic.engines.terms import constants_of
from tests.symbolic.engines.tables import table

X0, X1 = Var(Variable("x0")), Var(Variable("x1"))


def test_finds_a_scale_and_an_exponent() -> None:
    data = table(lambda x: 2 * np.tanh(1.7 * x[:, 0]) - np.sign(x[:, 1]) * np.abs(x[:, 1]) ** 1.3)
    start = Member((Unary("tanh", Binary("*", Const(1.0), X0)), Binary("spow", X1, Const(2.0))), (1.0, 1.0))
    found = polished(start, columns_of(data), data.y, evaluations=30)
    expression = found.expression()
    assert expression is not None
    np.testing.assert_allclose(sorted(map(abs, found.weights)), [1.0, 2.0], rtol=1e-4)
    assert sorted(expression.constants)[-1] == pytest.approx(2.0, rel=1e-4)
    assert any(c == pytest.approx(1.7, rel=1e-4) for c in expression.constants)
    assert any(c == pytest.approx(1.3, rel=1e-4) for c in expression.constants)


def test_under_a_divisor() -> None:
    data = table(lambda x: np.tanh(3 * x[:, 0]) / (1 + x[:, 1] ** 2))
    divisor = Divisor((Unary("square", X1),), (1.0,), 1.0, 1.0)
    found = polished(
        Member((Unary("tanh", Binary("*", Const(1.0), X0)),), (1.0,), divisor), columns_of(data), data.y, 30
    )
    assert found.divisor == divisor
    assert constants_of(found.terms[0]) == pytest.approx([3.0], rel=1e-4)


def test_leaves_alone_what_has_no_constants_or_too_many() -> None:
    data = table(lambda x: x[:, 0])
    plain = Member((X0,), (2.0,))
    assert polished(plain, columns_of(data), data.y) is plain
    many = Member((Binary("*", Const(1.0), X0), Binary("spow", X1, Const(2.0))), (1.0, 1.0))
    assert polished(many, columns_of(data), data.y, most=1) is many


def test_rounds_as_far_as_the_fit_bears() -> None:
    noisy = table(lambda x: 0.123456789 * x[:, 0] + 0.1 * x[:, 4])
    formula = parse_expression("0.123456789*x0", columns=("x0",))
    assert rounded(formula, [(columns_of(noisy), noisy.y)]).constants == (0.123,)
    exact = table(lambda x: 0.123456789 * x[:, 0])
    assert rounded(formula, [(columns_of(exact), exact.y)]).constants == (0.123457,)


def test_rounding_to_one_simplifies() -> None:
    data = table(lambda x: x[:, 0])
    formula = parse_expression("0.9999999*x0", columns=("x0",))
    assert rounded(formula, [(columns_of(data), data.y)]) == Expression(X0)
