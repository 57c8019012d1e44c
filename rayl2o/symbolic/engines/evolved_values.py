"""Formula trees evaluated by numpy, float64: exactly the operators of ``rules/operators.py``, without torch's cost per call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import erfc

from rayl2o.rules.nodes import Const, Node, Var, fold
from rayl2o.rules.operands import Operand, column_operand
from rayl2o.rules.operators import SATURATION, SMALLEST_DENOMINATOR
from rayl2o.symbolic.engines.base import Data, Floats

Columns = Mapping[Operand, Floats]
_TINY, _MIN_EXPONENT, _MAX_EXPONENT = 1e-24, -80.0, math.log(SATURATION)  # as in rules/operators.py; a test compares
_MAX_SINH = math.asinh(SATURATION)


def columns_of(data: Data, stretch: float = 1.0) -> dict[Operand, Floats]:
    """The columns ``[R]`` as formulas name them, multiplied by ``stretch`` and saturated."""
    x = np.clip(data.x * stretch, -SATURATION, SATURATION)
    return {column_operand(name): np.ascontiguousarray(x[:, i]) for i, name in enumerate(data.names)}


def values(root: Node, columns: Columns) -> Floats:
    """The formula at saturated columns ``[R]``; 0-dim if it reads none."""

    def combine(node: Node, arguments: tuple[Floats, ...]) -> Floats:
        if isinstance(node, Const):
            return np.asarray(node.value)
        if isinstance(node, Var):
            return columns[node.operand]
        return np.asarray(FUNCTIONS[node.op](*arguments))

    return fold(root, combine)


def _saturate(x: Any) -> Any:
    return np.minimum(np.maximum(x, -SATURATION), SATURATION)


def _divide(x: Any, y: Any) -> Any:
    return _saturate(x / np.where(y < 0, np.minimum(y, -SMALLEST_DENOMINATOR), np.maximum(y, SMALLEST_DENOMINATOR)))


def _exp(x: Any) -> Any:
    return np.exp(np.minimum(np.maximum(x, _MIN_EXPONENT), _MAX_EXPONENT))


def _signed_root(x: Any) -> Any:
    return np.sign(x) * np.sqrt(np.maximum(np.abs(x), _TINY))


def _signed_power(x: Any, y: Any) -> Any:
    return np.sign(x) * _exp(y * np.log(np.maximum(np.abs(x), _TINY)))


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "+": np.add,
        "-": np.subtract,
        "*": lambda x, y: _saturate(x * y),
        "/": _divide,
        "spow": _signed_power,
        "neg": np.negative,
        "abs": np.abs,
        "sign": np.sign,
        "square": lambda x: _saturate(x * x),
        "ssqrt": _signed_root,
        "exp": _exp,
        "tanh": np.tanh,
        "asinh": lambda x: np.arcsinh(_saturate(x)),
        "sinh": lambda x: np.sinh(np.minimum(np.maximum(x, -_MAX_SINH), _MAX_SINH)),
        "relu": lambda x: np.maximum(x, 0.0),
        "erfc": erfc,
    }
)
"""The same keys as ``OPERATORS``."""
