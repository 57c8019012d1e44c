"""Our operators in Julia, constant text: this is what reaches Julia's ``eval``, never a file or a setting.

Imports nothing of ours: the process that runs Julia reads it. A test holds each definition against ``rules/operators.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class JuliaOperator:
    """How an operator of ours is named in Julia.

    Attributes:
        name: As it prints in a hall of fame.
        arity: 1 or 2.
        definition: Julia source of a named function; None where Julia's own operator is the same (a product is, below our
            saturation at 1e12).
    """

    name: str
    arity: int
    definition: str | None = None


_HUGE = "oftype(x, 1e12)"
_LOG_HUGE = "27.631021115928547"
_ASINH_HUGE = "28.324168296488494"
JULIA: Mapping[str, JuliaOperator] = MappingProxyType(
    {
        "+": JuliaOperator("+", 2),
        "-": JuliaOperator("-", 2),
        "*": JuliaOperator("*", 2),
        "/": JuliaOperator(
            "o_div",
            2,
            "o_div(x, y) = clamp("
            "x / ifelse(y < 0, min(y, oftype(y, -1e-8)), max(y, oftype(y, 1e-8))), "
            f"-{_HUGE}, {_HUGE})",
        ),
        "spow": JuliaOperator(
            "o_spow",
            2,
            "o_spow(x, y) = sign(x) * exp(clamp("
            f"y * log(max(abs(x), oftype(x, 1e-24))), oftype(x, -80.0), oftype(x, {_LOG_HUGE})))",
        ),
        "neg": JuliaOperator("neg", 1),
        "abs": JuliaOperator("abs", 1),
        "sign": JuliaOperator("sign", 1),
        "square": JuliaOperator("o_square", 1, f"o_square(x) = min(x * x, {_HUGE})"),
        "ssqrt": JuliaOperator("o_ssqrt", 1, "o_ssqrt(x) = sign(x) * sqrt(max(abs(x), oftype(x, 1e-24)))"),
        "exp": JuliaOperator(
            "o_exp", 1, f"o_exp(x) = exp(clamp(x, oftype(x, -80.0), oftype(x, {_LOG_HUGE})))"
        ),
        "tanh": JuliaOperator("tanh", 1),
        "asinh": JuliaOperator("o_asinh", 1, f"o_asinh(x) = asinh(clamp(x, -{_HUGE}, {_HUGE}))"),
        "sinh": JuliaOperator(
            "o_sinh", 1, f"o_sinh(x) = sinh(clamp(x, oftype(x, -{_ASINH_HUGE}), oftype(x, {_ASINH_HUGE})))"
        ),
        "relu": JuliaOperator("o_relu", 1, "o_relu(x) = max(x, oftype(x, 0.0))"),
        "erfc": JuliaOperator("erfc", 1),
    }
)  # fmt: skip
PAPER_OPERATORS = ("+", "-", "*", "/", "spow", "square", "ssqrt", "exp", "tanh", "asinh", "sinh", "relu", "erfc")
"""Paper S, section 4: + - x / square root exp power tanh arcsinh sinh relu erfc."""
