"""Activations with what a hand-written backward pass needs, all from their output, with autograd's conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor


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


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "sigmoid": Activation(torch.sigmoid, _sigmoid_chain, lambda a: 1 - 2 * a),
        "relu": Activation(torch.relu, _relu_chain, None),
        "tanh": Activation(torch.tanh, _tanh_chain, lambda a: -2 * a),
    }
)
