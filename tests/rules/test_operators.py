"""The operators: exact where the textbook function is defined, total, bounded and smooth enough everywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rayl2o.rules.operators import OPERATORS, SATURATION, SMALLEST_DENOMINATOR

EDGES = [0.0, -0.0, 1e-30, -1e-30, 1e-9, -1e-9, 0.5, -0.5, 1.0, -1.0, 30.0, -30.0, 1e6, -1e6, 1e12, -1e12, 1e15, -1e15]
TEXTBOOK: dict[str, Callable[..., float]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "spow": lambda x, y: math.copysign(abs(x) ** y, x),
    "neg": lambda x: -x,
    "abs": abs,
    "sign": lambda x: math.copysign(1.0, x),
    "square": lambda x: x * x,
    "ssqrt": lambda x: math.copysign(math.sqrt(abs(x)), x),
    "exp": math.exp,
    "tanh": math.tanh,
    "asinh": math.asinh,
    "sinh": math.sinh,
    "relu": lambda x: max(x, 0.0),
    "erfc": math.erfc,
}


def _grid(arity: int, points: list[float], dtype: torch.dtype) -> list[Tensor]:
    axes = [torch.tensor(points, dtype=dtype)] * arity
    return [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")]


def test_the_table_covers_the_papers_set() -> None:
    assert set(OPERATORS) == set(TEXTBOOK)
    assert all(name == operator.name for name, operator in OPERATORS.items())


@pytest.mark.parametrize("name", TEXTBOOK)
def test_equals_the_textbook_where_that_is_defined(name: str) -> None:
    operator = OPERATORS[name]
    arguments = _grid(operator.arity, [-3.0, -1.5, -0.25, 0.125, 1.0, 2.5], torch.float64)
    expected = [TEXTBOOK[name](*row) for row in torch.stack(arguments, 1).tolist()]
    torch.testing.assert_close(
        operator.function(*arguments), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OPERATORS)
def test_finite_value_and_slopes_everywhere(name: str, dtype: torch.dtype) -> None:
    operator = OPERATORS[name]
    arguments = [axis.requires_grad_() for axis in _grid(operator.arity, EDGES, dtype)]
    value = operator.function(*arguments)
    assert value.dtype == dtype
    assert value.isfinite().all()
    slopes = torch.autograd.grad(value.sum(), arguments, allow_unused=True)
    assert all(slope is None or slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("name", OPERATORS)
def test_float32_agrees_with_float64(name: str) -> None:
    arguments = _grid(OPERATORS[name].arity, [-40.0, -2.0, -1e-5, 0.0, 1e-7, 0.3, 7.0], torch.float32)
    single = OPERATORS[name].function(*arguments)
    double = OPERATORS[name].function(*(axis.double() for axis in arguments))
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-30)


def test_what_the_textbook_leaves_open() -> None:
    def value(name: str, *arguments: float) -> float:
        return float(OPERATORS[name].function(*(torch.tensor(x, dtype=torch.float64) for x in arguments)))

    assert value("/", 1.0, 0.0) == pytest.approx(1.0 / SMALLEST_DENOMINATOR)
    assert value("/", 1.0, -1e-12) == pytest.approx(-1.0 / SMALLEST_DENOMINATOR)
    assert value("/", 0.0, 0.0) == 0.0
    assert value("exp", 1e6) == pytest.approx(SATURATION)
    assert value("sinh", -1e6) == pytest.approx(-SATURATION)
    assert value("square", 1e9) == SATURATION
    assert value("*", -1e9, 1e9) == -SATURATION
    assert value("spow", 0.0, -1.0) == 0.0
    assert value("spow", 1e-20, -1.0) == pytest.approx(SATURATION)
    assert value("ssqrt", 0.0) == 0.0


def test_templates_take_each_argument_once() -> None:
    for operator in OPERATORS.values():
        text = operator.latex.format(*("AB"[: operator.arity]))
        assert [text.count(letter) for letter in "AB"[: operator.arity]] == [1] * operator.arity
