"""The network of the small MLP: features of a coordinate to its displacement, the same weights for every coordinate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rayl2o.rules.base import Phi
from rayl2o.rules.small_mlp_features import FEATURES, TIMESCALES, step_embedding

_relu_backward = torch.ops.aten.threshold_backward
_SMALL = 400
"""Below so many multiplications per matrix torch multiplies a batch one number at a time."""


@dataclass(frozen=True)
class SmallNetwork:
    """ReLU layers, then ``(direction, magnitude)``, then ``-step_mult direction exp(exp_mult magnitude)``.

    Its inputs are the 28 features of a coordinate and the 11 of the step, in this order; as the latter are the same for all
    coordinates of an instance, they enter as a bias.

    Attributes:
        hidden: Widths of the ReLU layers, at least one.
        exp_mult: Factor on the magnitude.
        step_mult: Factor on the displacement.
    """

    hidden: tuple[int, ...]
    exp_mult: float
    step_mult: float

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of its weights ``[in, out]`` and biases ``[out]``, layer by layer."""
        widths = (FEATURES + len(TIMESCALES), *self.hidden, 2)
        layers = enumerate(itertools.pairwise(widths))
        return {name: shape for i, (a, b) in layers for name, shape in ((f"mlp.w{i}", (a, b)), (f"mlp.b{i}", (b,)))}

    def init(self, generator: torch.Generator, dtype: torch.dtype) -> Phi:
        """Biases 0; weights normal with standard deviation ``1 / sqrt(in)``, cut at two of them (and not rescaled for it)."""
        phi = {name: torch.zeros(shape, dtype=dtype) for name, shape in self.shapes().items()}
        for weight in phi.values():
            if weight.dim() == 2:
                std = weight.shape[0] ** -0.5
                nn.init.trunc_normal_(weight, std=std, a=-2.0 * std, b=2.0 * std, generator=generator)
        return phi

    def displacement(
        self, phi: Mapping[str, Tensor], features: Tensor, step: Tensor, factor: Tensor | None = None
    ) -> Tensor:
        """``delta [K, n]`` of ``features [28, K, n]``, times ``factor [28, K, 1]`` if given, at a step of one element or K."""
        first = phi["mlp.w0"][:FEATURES]
        if factor is not None and features.shape[1] == 1:
            first = first * factor[:, 0]  # cheaper than to multiply the features
        elif factor is not None:
            features = features * factor
        y = self._layers(phi, first, features, step_embedding(step, features))[-1].view(2, *features.shape[1:])
        return self._scaled(y[0], y[1])

    def displacement_each(self, phis: Mapping[str, Tensor], features: Tensor, step: Tensor, factor: Tensor) -> Tensor:
        """As :meth:`displacement`, of K instances with weights of their own, ``[K, ...]`` by name."""
        first, embedding = phis["mlp.w0"], step_embedding(step, features)
        bias = phis["mlp.b0"] + (first[:, FEATURES:].transpose(1, 2) @ embedding.t()[:, :, None])[:, :, 0]
        y = _products(bias, first[:, :FEATURES] * factor.transpose(0, 1), features.transpose(0, 1))
        for i in range(1, len(self.hidden) + 1):
            y = _products(phis[f"mlp.b{i}"], phis[f"mlp.w{i}"], torch.relu(y))
        return self._scaled(y[:, 0], y[:, 1])

    def pullback(
        self, phi: Mapping[str, Tensor], features: Tensor, step: Tensor, upstream: Tensor, into: Tensor | None
    ) -> list[Tensor]:
        """Gradient of ``sum(upstream displacement)`` in the weights, in the order of :meth:`shapes`; builds no graph.

        Args:
            phi, features, step: As in :meth:`displacement`.
            upstream: ``[K, n]``.
            into: ``[28, K, n]`` where the gradient in the features is written; None if it is not wanted.
        """
        first, embedding = phi["mlp.w0"][:FEATURES], step_embedding(step, features)
        *hidden, (direction, magnitude) = self._layers(phi, first, features, embedding)
        along = torch.exp(self.exp_mult * magnitude).mul_(upstream.reshape(-1)).mul_(-self.step_mult)
        dy = torch.stack((along, along * direction * self.exp_mult))
        found = []
        for i in range(len(hidden), 0, -1):
            below = hidden[i - 1]
            found += [dy.sum(1), below @ dy.t()]
            dy = _relu_backward(phi[f"mlp.w{i}"] @ dy, below, 0.0)
        d_bias = dy.view(len(dy), embedding.shape[1], -1).sum(2)
        d_first = (dy @ features.flatten(1).t()).t()  # in this order three times faster
        found += [d_bias.sum(1), torch.cat((d_first, embedding @ d_bias.t()))]
        if into is not None:
            torch.mm(first, dy, out=into.view(FEATURES, -1))
        return found[::-1]

    def _scaled(self, direction: Tensor, magnitude: Tensor) -> Tensor:
        return -self.step_mult * direction * torch.exp(self.exp_mult * magnitude)

    def _layers(self, phi: Mapping[str, Tensor], first: Tensor, features: Tensor, embedding: Tensor) -> list[Tensor]:
        """Outputs of all layers, each ``[out, K n]``; ``first [28, out]`` are the weights of the features."""
        bias = torch.addmm(phi["mlp.b0"][:, None], phi["mlp.w0"][FEATURES:].t(), embedding)
        if bias.shape[1] > 1:  # instances at different steps
            bias = bias.repeat_interleave(features.shape[2], dim=1)
        layers = [torch.addmm(bias, first.t(), features.flatten(1))]
        for i in range(1, len(self.hidden) + 1):
            layers[-1] = torch.relu(layers[-1])
            layers.append(torch.addmm(phi[f"mlp.b{i}"][:, None], phi[f"mlp.w{i}"].t(), layers[-1]))
        return layers


def _products(bias: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """``[K, out, n]``, the layer of each instance: ``bias [K, out]``, ``weight [K, in, out]``, ``x [K, in, n]``."""
    if weight.shape[1] * weight.shape[2] * x.shape[2] >= _SMALL:
        return torch.baddbmm(bias[:, :, None], weight.transpose(1, 2), x)
    y, rows = bias.t()[:, None].contiguous(), x.permute(1, 2, 0).contiguous()
    for row, into in zip(rows, weight.permute(1, 2, 0).contiguous(), strict=True):
        y = torch.addcmul(y, into[:, None], row)
    return y.permute(2, 0, 1)
