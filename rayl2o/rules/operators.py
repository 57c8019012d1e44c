"""The operator table of formulas, defined once: search, simplification, the torch rule and LaTeX all read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

SATURATION = 1e12
"""Magnitude at which products, quotients, squares, powers and exponentials stop growing: float32 then never overflows."""
SMALLEST_DENOMINATOR = 1e-8
"""``x / y`` divides by a y of at least this magnitude, as Adam's epsilon does."""
_TINY = 1e-24  # roots and powers treat smaller magnitudes as this: their slope at 0 is then 0, not infinite
_MAX_EXPONENT = math.log(SATURATION)
_MIN_EXPONENT = -80.0
_MAX_SINH = math.asinh(SATURATION)


@dataclass(frozen=True)
class Operator:
    """A total function on the reals.

    Attributes:
        name: As it stands in formulas and files.
        arity: 1 or 2.
        function: Elementwise on ``arity`` broadcasting tensors, in their dtype; finite, with finite derivatives, for
            arguments up to 1,000 times :data:`SATURATION`.
        latex: Template with ``{0}`` and ``{1}`` for the arguments, each once (twice would let nested formulas explode).
    """

    name: str
    arity: int
    function: Callable[..., Tensor]
    latex: str


def saturate(x: Tensor) -> Tensor:
    """``x`` cut to plus or minus :data:`SATURATION`."""
    return x.clamp(-SATURATION, SATURATION)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return saturate(x / torch.where(y < 0, y.clamp(max=-SMALLEST_DENOMINATOR), y.clamp(min=SMALLEST_DENOMINATOR)))


def _signed_root(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.sqrt(x.abs().clamp(min=_TINY))


def _signed_power(x: Tensor, y: Tensor) -> Tensor:
    # Through the exponential, so that the exponent can be cut before anything overflows: infinity times a zero slope is NaN.
    return torch.sign(x) * _exp(y * torch.log(x.abs().clamp(min=_TINY)))


def _exp(x: Tensor) -> Tensor:
    return torch.exp(x.clamp(_MIN_EXPONENT, _MAX_EXPONENT))


def _sinh(x: Tensor) -> Tensor:
    return torch.sinh(x.clamp(-_MAX_SINH, _MAX_SINH))


def _asinh(x: Tensor) -> Tensor:
    return torch.asinh(saturate(x))


def _multiply(x: Tensor, y: Tensor) -> Tensor:
    return saturate(x * y)


def _square(x: Tensor) -> Tensor:
    return saturate(x * x)


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        operator.name: operator
        for operator in (
            Operator("+", 2, torch.add, "{0} + {1}"),
            Operator("-", 2, torch.sub, "{0} - {1}"),
            Operator("*", 2, _multiply, r"{0} \, {1}"),
            Operator("/", 2, _divide, r"\frac{{{0}}}{{{1}}}"),
            Operator("spow", 2, _signed_power, r"\mathrm{{spow}}\left({0}, {1}\right)"),
            Operator("neg", 1, torch.neg, "-{0}"),
            Operator("abs", 1, torch.abs, r"\left|{0}\right|"),
            Operator("sign", 1, torch.sign, r"\mathrm{{sgn}}\left({0}\right)"),
            Operator("square", 1, _square, r"\left({0}\right)^{{2}}"),
            Operator("ssqrt", 1, _signed_root, r"\mathrm{{ssqrt}}\left({0}\right)"),
            Operator("exp", 1, _exp, r"\exp\left({0}\right)"),
            Operator("tanh", 1, torch.tanh, r"\tanh\left({0}\right)"),
            Operator("asinh", 1, _asinh, r"\mathrm{{asinh}}\left({0}\right)"),
            Operator("sinh", 1, _sinh, r"\sinh\left({0}\right)"),
            Operator("relu", 1, torch.relu, r"\mathrm{{relu}}\left({0}\right)"),
            Operator("erfc", 1, torch.special.erfc, r"\mathrm{{erfc}}\left({0}\right)"),
        )
    }
)
"""Paper S's set (section 4: + - x / square root exp power tanh arcsinh sinh relu erfc), the partial ones extended to the
reals (``ssqrt = sign(x) sqrt|x|``, ``spow = sign(x) |x|^y``), with sign, abs and neg that the paper's formulas use."""
