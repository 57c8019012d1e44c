"""Formulas and values that the tests of the rules share, and a draw of random trees."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var
from rayl2o.rules.operands import Ema, Lag, Operand, Signal
from rayl2o.rules.operators import OPERATORS

OPERANDS: tuple[Operand, ...] = (Signal("g"), Signal("m_tilde"), Lag("g", 2), Ema("g_tilde", 0.9), Signal("t"))
FORMULAS = (
    "-0.1*g",
    "0.0",
    "g",
    "-0.5*ema(g_tilde, 0.9) + tanh(lag(g, 2))",
    "-0.012*m_tilde + -0.003*ema(q, 0.95) + 1e-05*g",
    "-(g + m_tilde)*q - -2.0/(t - 0.5)",
    "-0.02*sign(g*lag(g, 1))*sinh(ssqrt(spow(asinh(g), 2.2) + 0.7*spow(asinh(lag(g, 1)), 2.3)))",
    "square(relu(neg(3.0)) - abs(exp(erfc(g))))",
)


def values(rows: int = 7, dtype: torch.dtype = torch.float64) -> dict[Operand, Tensor]:
    """Random values of :data:`OPERANDS`."""
    draws = torch.randn(len(OPERANDS), rows, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return dict(zip(OPERANDS, draws.to(dtype), strict=True))


def random_tree(generator: torch.Generator, depth: int) -> Node:
    """A tree of up to ``depth`` levels over :data:`OPERANDS` and all operators."""

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    if depth == 1 or draw(5) == 0:
        if draw(2):
            return Const(round(float(torch.randn((), generator=generator)), 3))
        return Var(OPERANDS[draw(len(OPERANDS))])
    names = sorted(OPERATORS)
    name = (names + ["+", "*", "-"] * 4)[draw(len(names) + 12)]
    if OPERATORS[name].arity == 1:
        return Unary(name, random_tree(generator, depth - 1))
    return Binary(name, random_tree(generator, depth - 1), random_tree(generator, depth - 1))


def random_expressions(count: int, depth: int = 5) -> list[Expression]:
    """``count`` formulas, the same at every call."""
    generator = torch.Generator().manual_seed(11)
    return [Expression(random_tree(generator, depth)) for _ in range(count)]
