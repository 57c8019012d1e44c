"""The cell of L2O-Scale: a GRU layer that takes a bias from the levels above, and what passes between the levels.

Coordinate-last as :mod:`rayl2o.rules.gru_cell`: every level is ``[width, K, columns]``, where the columns are the D coordinates,
the T tensors or the one problem of each of K instances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.rules.base import Phi

WEIGHT_SCALE = 0.5
"""Every matrix starts normal with this deviation over the root of its inputs."""
GATE_BIAS = 2.2
"""Where the biases of both gates start: the cell keeps 0.9 of its state."""


def normal(generator: torch.Generator, inputs: int, outputs: int) -> Tensor:
    """A fresh matrix ``[inputs, outputs]``, float32."""
    return WEIGHT_SCALE / math.sqrt(inputs) * torch.randn(inputs, outputs, generator=generator)


@dataclass(frozen=True)
class Level:
    """One GRU level; the weights are an argument. As in :mod:`rayl2o.rules.gru_cell`, the reset comes before the matrix.

    Attributes:
        name: Prefix of its weights.
        features: Numbers per column that come in.
        hidden: Width of the state.
    """

    name: str
    features: int
    hidden: int

    def init(self, generator: torch.Generator) -> Phi:
        """Fresh weights, float32: matrices as :func:`normal`, gate biases at ``GATE_BIAS``, the first state uniform in -1..1."""
        rows = self.features + self.hidden
        return {
            f"{self.name}.w_gates": normal(generator, rows, 2 * self.hidden),
            f"{self.name}.b_gates": torch.full((2 * self.hidden,), GATE_BIAS),
            f"{self.name}.w_candidate": normal(generator, rows, self.hidden),
            f"{self.name}.b_candidate": torch.zeros(self.hidden),
            f"{self.name}.h0": 2.0 * torch.rand(self.hidden, generator=generator) - 1.0,
        }

    def started(self, phi: Mapping[str, Tensor], h: Tensor, step: Tensor) -> Tensor:
        """``h [hidden, K, columns]``, or the learned first state where ``step`` (0-dim or ``[K, 1]``) is 0."""
        return torch.where(step == 0, phi[f"{self.name}.h0"].view(-1, 1, 1), h)

    def bias(self, phi: Mapping[str, Tensor]) -> Tensor:
        """Its own bias ``[3 hidden, 1, 1]``, order r (reset), u (update), c (candidate): as the levels above give theirs."""
        return torch.cat((phi[f"{self.name}.b_gates"], phi[f"{self.name}.b_candidate"])).view(-1, 1, 1)

    def step(self, phi: Mapping[str, Tensor], x: Tensor, h: Tensor, bias: Tensor) -> Tensor:
        """The new state.

        Args:
            phi: The weights.
            x: ``[features, K, columns]``.
            h: ``[hidden, K, columns]``.
            bias: Broadcasts to ``[3 hidden, K, columns]``: its own and what comes from above.
        """
        of_gates, of_candidate = torch.split(bias.expand(-1, *h.shape[1:]), [2 * self.hidden, self.hidden])
        gates = torch.sigmoid(_affine(phi[f"{self.name}.w_gates"], torch.cat((x, h)), of_gates))
        reset, update = torch.split(gates, self.hidden)
        candidate = torch.tanh(_affine(phi[f"{self.name}.w_candidate"], torch.cat((x, reset * h)), of_candidate))
        return candidate + update * (h - candidate)


@dataclass(frozen=True)
class Link:
    """What an upper level adds to the biases of a lower one; the weights are an argument.

    Attributes:
        above, below: The levels.
    """

    above: Level
    below: Level

    @property
    def name(self) -> str:
        """Prefix of its weights."""
        return f"{self.above.name}_to_{self.below.name}"

    def init(self, generator: torch.Generator) -> Phi:
        """Fresh weights, float32: the matrix as :func:`normal`, the bias 0."""
        width = 3 * self.below.hidden
        return {
            f"{self.name}.w": normal(generator, self.above.hidden, width),
            f"{self.name}.b": torch.zeros(width),
        }

    def bias(self, phi: Mapping[str, Tensor], h: Tensor) -> Tensor:
        """``[3 below.hidden, K, columns]`` from the state ``h [above.hidden, K, columns]`` of the upper level."""
        return _affine(phi[f"{self.name}.w"], h, phi[f"{self.name}.b"].view(-1, 1, 1).expand(-1, *h.shape[1:]))


def tensor_means(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Means over each tensor, ``[..., D]`` to ``[..., T]``.

    Args:
        values: ``[..., D]``.
        sizes: Coordinates of each tensor. (Cut and joined, not indexed: the backward of an index is slow on a CPU.)
    """
    return torch.stack([part.mean(-1) for part in torch.split(values, list(sizes), -1)], -1)


def to_coordinates(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Every tensor's value for each of its coordinates, ``[..., T]`` to ``[..., D]``."""
    parts = zip(torch.split(values, 1, -1), sizes, strict=True)
    return torch.cat([part.expand(*part.shape[:-1], size) for part, size in parts], -1)


def _affine(weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """``weight [I, O]`` on ``x [I, K, columns]``, plus ``bias [O, K, columns]``."""
    return torch.addmm(bias.flatten(1), weight.t(), x.flatten(1)).view(-1, *x.shape[1:])
