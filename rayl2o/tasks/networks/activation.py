"""Activations with what a hand-written backward pass needs, all from their output, with autograd's conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import elu, leaky_relu, softplus

_SOFTPLUS_LINEAR = 20.0


@dataclass(frozen=True)
class Activation:
    """An activation a = s(z).

    Attributes:
        forward: ``z -> a``, differentiable.
        chain: ``(x, a) -> x s'(z)``: the backward pass of cotangents and the forward pass of tangents alike.
        bend: ``a -> s''(z) / s'(z)``, 0 where s' is 0; None where s'' is 0 everywhere.
    """

    forward: Callable[[Tensor], Tensor]
    chain: Callable[[Tensor, Tensor], Tensor]
    bend: Callable[[Tensor], Tensor] | None


def _sigmoid_chain(x: Tensor, a: Tensor) -> Tensor:
    scaled: Tensor = torch.ops.aten.sigmoid_backward(x, a)
    return scaled


def _tanh_chain(x: Tensor, a: Tensor) -> Tensor:
    scaled: Tensor = torch.ops.aten.tanh_backward(x, a)
    return scaled


def _relu_chain(x: Tensor, a: Tensor) -> Tensor:
    scaled: Tensor = torch.ops.aten.threshold_backward(x, a, 0)
    return scaled


def _leaky_relu_chain(x: Tensor, a: Tensor) -> Tensor:
    scaled: Tensor = torch.ops.aten.leaky_relu_backward(x, a, 0.01, True)
    return scaled


def _elu_chain(x: Tensor, a: Tensor) -> Tensor:
    scaled: Tensor = torch.ops.aten.elu_backward(x, 1, 1, 1, True, a)
    return scaled


def _softplus_chain(x: Tensor, a: Tensor) -> Tensor:
    # s' = sigmoid(z) = 1 - exp(-a). Above 20 torch has a = z, of slope 1.
    return torch.where(a > _SOFTPLUS_LINEAR, 1, -torch.expm1(-a)).mul_(x)


def _softplus_bend(a: Tensor) -> Tensor:
    return torch.where(a > _SOFTPLUS_LINEAR, 0, torch.exp(-a))


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "sigmoid": Activation(torch.sigmoid, _sigmoid_chain, lambda a: 1 - 2 * a),
        "relu": Activation(torch.relu, _relu_chain, None),
        "tanh": Activation(torch.tanh, _tanh_chain, lambda a: -2 * a),
        "elu": Activation(elu, _elu_chain, lambda a: (a < 0).to(a.dtype)),
        "leaky-relu": Activation(leaky_relu, _leaky_relu_chain, None),
        "softplus": Activation(softplus, _softplus_chain, _softplus_bend),
    }
)
"""By name. All are increasing: gelu and swish are not, so that their output does not tell their slope."""
