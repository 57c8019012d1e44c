"""The cell of the GRU optimizer: one GRU layer with a linear readout, coordinate-last as :mod:`rayl2o.rules.lstm`.

The convention is renn's (the code of paper R), not that of ``torch.nn.GRUCell``: the reset gate acts on the old state *before*
the candidate's matrix, ``c = tanh(W_c [x, r * h, 1])``. In both the update gate keeps the old state, ``h' = u h + (1 - u) c``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.rules.base import Phi
from rayl2o.rules.lstm import BLOCK_GATES, blocks, graph_free


@dataclass(frozen=True)
class GruWeights:
    """The weights in the form that the arithmetic wants: every bias is one more row, its input is the constant 1.

    Attributes:
        gates: ``[features + h + 1, 2 h]`` on ``[x, h, 1]``, gate order r (reset), u (update).
        candidate: ``[features + h + 1, h]`` on ``[x, r h, 1]``.
        readout: ``[h]``, and its bias ``[1]``.
    """

    gates: Tensor
    candidate: Tensor
    readout: Tensor
    readout_bias: Tensor


@dataclass(frozen=True)
class GruCell:
    """Sizes of the cell; the weights are an argument.

    Attributes:
        features: Numbers per coordinate that come in.
        hidden: Width of the state.
    """

    features: int
    hidden: int

    @property
    def block(self) -> int:
        """Coordinates computed together without a graph."""
        return max(512, BLOCK_GATES // (4 * self.hidden))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight by name, in the order in which they are drawn."""
        rows, h = self.features + self.hidden, self.hidden
        return {
            "gru.w_gates": (rows, 2 * h),
            "gru.b_gates": (2 * h,),
            "gru.w_candidate": (rows, h),
            "gru.b_candidate": (h,),
            "gru.h0": (h,),
            "linear.w": (h, 1),
            "linear.b": (1,),
        }

    def init(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights as in renn: the matrices of the cell normal with variance 1 / h, all else 0.

        renn asks for variance scaling by the fan-in, but of matrices stored ``[out, in]``, whose fan-in JAX reads off the first
        axis: so the variance of the input weights is 1 / h, too, and not 1 / features. The readout of 0 makes the untrained
        optimizer stand still. Drawn in float32, so a seed means the same in any dtype.
        """
        std = 1.0 / math.sqrt(self.hidden)
        return {
            name: (
                std * torch.randn(shape, generator=generator) if name.startswith("gru.w") else torch.zeros(shape)
            ).to(dtype)
            for name, shape in self.shapes().items()
        }

    def weights(self, phi: Mapping[str, Tensor]) -> GruWeights:
        """Joins each bias to its matrix; differentiable in phi."""
        return GruWeights(
            torch.cat((phi["gru.w_gates"], phi["gru.b_gates"].unsqueeze(0))),
            torch.cat((phi["gru.w_candidate"], phi["gru.b_candidate"].unsqueeze(0))),
            phi["linear.w"].squeeze(-1),
            phi["linear.b"],
        )

    def started(self, phi: Mapping[str, Tensor], state: Tensor, step: Tensor) -> Tensor:
        """The state before a step: the learned one of phi where ``step`` is 0, ``state`` elsewhere; differentiable in phi.

        What is stored of step 0 was made by the phi that acted and is data to the learner: reading phi here is what gives
        the learned state its gradient, whoever differentiates the step.

        Args:
            phi: The weights.
            state: ``[h, ...]``.
            step: Broadcasts against ``[...]``.
        """
        fresh = step == 0
        if graph_free((step,)) and not bool(fresh.any()):
            return state
        return torch.where(fresh, phi["gru.h0"].reshape(-1, *(1,) * (state.ndim - 1)), state)

    def step(self, phi: Mapping[str, Tensor], features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step of N coordinates: ``features [F, N]`` and ``state [h, N]`` to readouts ``[N]`` and the new state."""
        weights = self.weights(phi)
        if state.shape[1] <= self.block or not graph_free((*phi.values(), features, state)):
            return _step(self, weights, features, state)
        sizes = blocks(state.shape[1], self.block)
        new, y = torch.empty_like(state), state.new_empty(state.shape[1])
        for f, s, n, out in zip(
            torch.split(features, sizes, 1),
            torch.split(state, sizes, 1),
            torch.split(new, sizes, 1),
            torch.split(y, sizes),
            strict=True,
        ):
            out_block, new_block = _step(self, weights, f, s)
            n.copy_(new_block)
            out.copy_(out_block)
        return y, new


def _step(cell: GruCell, weights: GruWeights, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The defining arithmetic, in ops that autograd, vmap and the compiler all know."""
    ones = torch.ones_like(state[:1])
    gates = torch.sigmoid(weights.gates.t() @ torch.cat((features, state, ones)))
    reset, update = torch.split(gates, cell.hidden)
    candidate = torch.tanh(weights.candidate.t() @ torch.cat((features, reset * state, ones)))
    new = candidate + update * (state - candidate)
    return weights.readout @ new + weights.readout_bias, new
