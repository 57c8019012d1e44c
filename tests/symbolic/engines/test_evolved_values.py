"""The numpy evaluator against torch's: the same functions, at ordinary, tiny and huge values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.rules.operands import Signal, Variable
from rayl2o.rules.operators import OPERATORS, SATURATION
from rayl2o.symbolic.engines.base import Data
from rayl2o.symbolic.engines.evolved_values import FUNCTIONS, columns_of, values
from tests.rules.formulas import OPERANDS, random_expressions

SIZES = np.array([0.0, 1e-30, 1e-12, 1e-8, 1e-3, 0.3, 1.0, 2.5, 30.0, 90.0, 1e6, 1e12])
POINTS = np.concatenate((-SIZES, SIZES))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator(name: str) -> None:
    arguments = np.meshgrid(*[POINTS] * OPERATORS[name].arity)
    wanted = OPERATORS[name].function(*(torch.from_numpy(a.copy()) for a in arguments)).numpy()
    np.testing.assert_allclose(FUNCTIONS[name](*arguments), wanted, rtol=1e-12, atol=0)


def test_no_other_operators() -> None:
    assert set(FUNCTIONS) == set(OPERATORS)


def test_whole_formulas() -> None:
    rng = np.random.default_rng(1)
    x = {operand: rng.standard_normal(40) * 10.0 ** rng.uniform(-3, 3, 40) for operand in OPERANDS}
    tensors = {operand: torch.from_numpy(column) for operand, column in x.items()}
    for expression in random_expressions(200):
        wanted = expression.evaluate(tensors).numpy()
        np.testing.assert_allclose(values(expression.root, x), wanted, rtol=1e-9, atol=1e-12, err_msg=str(expression))


def test_columns_are_named_stretched_and_saturated() -> None:
    data = Data(("x0", "t"), np.array([[1.0, 2.0], [-1e13, 4.0]]), np.zeros(2))
    columns = columns_of(data, stretch=3.0)
    assert list(columns) == [Variable("x0"), Signal("t")]
    np.testing.assert_array_equal(columns[Variable("x0")], [3.0, -SATURATION])
    np.testing.assert_array_equal(columns[Signal("t")], [6.0, 12.0])
