"""The network of the published learned optimizers: optional projection with ELU, LSTM layers, linear readout.

Weights are in the Sonnet layout natively (``lstm_1.w_gates [in + h, 4 h]`` acting on ``[x, h]``, gate order i, j, f, o, forget
bias +1 inside the sigmoid), so importing published weights is a validation and not a conversion. Arithmetic is coordinate-last:
one contiguous row per unit, which is about twice as fast on a CPU as one row per coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.rules.base import Phi

FORGET_BIAS = 1.0
BLOCK_GATES = 163_840
"""Gate activations computed together: with 4 bytes each they stay in a 1 MB cache next to their inputs."""
DEVICE_RECORD_BYTES = 2**30
"""Record of a block on a GPU: large enough to keep it busy, small beside its memory."""


@dataclass(frozen=True)
class Weights:
    """The weights in the form that the arithmetic wants: every bias is one more row, its input is the constant 1.

    Attributes:
        projection: ``[features + 1, p]``, or None.
        gates: Per layer ``[in + h + 1, 4 h]``, the forget bias included.
        readout: ``[h]``, and its bias ``[1]``.
    """

    projection: Tensor | None
    gates: tuple[Tensor, ...]
    readout: Tensor
    readout_bias: Tensor


@dataclass(frozen=True)
class Network:
    """Sizes of the network; the weights are an argument.

    State rows ``[2 sum(hidden), N]`` are h then c of the first layer, h then c of the second, and so on.

    Attributes:
        features: Numbers per coordinate that come in.
        projection: Width of the projection, or None to feed the features to the first layer.
        hidden: Width of each LSTM layer.
    """

    features: int
    projection: int | None
    hidden: tuple[int, ...]

    @property
    def state_size(self) -> int:
        """Floats of recurrent state per coordinate."""
        return 2 * sum(self.hidden)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input width of each layer."""
        return (self.features if self.projection is None else self.projection, *self.hidden[:-1])

    @property
    def block(self) -> int:
        """Coordinates computed together without a graph."""
        return max(512, BLOCK_GATES // (4 * max(self.hidden)))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight by name, in the order in which they are drawn."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.projection is not None:
            shapes["input_projection.w"] = (self.features, self.projection)
            shapes["input_projection.b"] = (self.projection,)
        for layer, (inputs, h) in enumerate(zip(self.inputs, self.hidden, strict=True), start=1):
            shapes[f"lstm_{layer}.w_gates"] = (inputs + h, 4 * h)
            shapes[f"lstm_{layer}.b_gates"] = (4 * h,)
        return shapes | {"linear.w": (self.hidden[-1], 1), "linear.b": (1,)}

    def init(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights as in Sonnet 1: truncated normal of deviation 1 / sqrt(fan-in), biases of the two linear maps 0.

        The gate biases are drawn too, with the fan-in of their matrix. Drawn in float32, so a seed means the same in any dtype.
        """
        phi: Phi = {}
        fan_in = 1
        for name, shape in self.shapes().items():
            weight = torch.zeros(shape)
            if len(shape) == 2:
                fan_in = shape[0]
            if len(shape) == 2 or name.endswith("b_gates"):
                std = 1.0 / math.sqrt(fan_in)
                torch.nn.init.trunc_normal_(weight, std=std, a=-2.0 * std, b=2.0 * std, generator=generator)
            phi[name] = weight.to(dtype)
        return phi

    def weights(self, phi: Mapping[str, Tensor]) -> Weights:
        """Joins each bias to its matrix; differentiable in phi."""
        projection = None
        if self.projection is not None:
            projection = torch.cat((phi["input_projection.w"], phi["input_projection.b"].unsqueeze(0)))
        gates = []
        for layer, h in enumerate(self.hidden, start=1):
            joined = torch.cat((phi[f"lstm_{layer}.w_gates"], phi[f"lstm_{layer}.b_gates"].unsqueeze(0)))
            joined[-1, 2 * h : 3 * h].add_(FORGET_BIAS)
            gates.append(joined)
        return Weights(projection, tuple(gates), phi["linear.w"].squeeze(-1), phi["linear.b"])

    def step(
        self, phi: Mapping[str, Tensor], features: Sequence[Tensor], state: Tensor, carried: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """One step of N coordinates.

        Args:
            phi: The weights.
            features: One ``[N]`` per feature.
            state: ``[2 sum(hidden), N]``.
            carried: ``[N]`` each; rows that the rule keeps in its state ahead of the network's.

        Returns:
            Outputs ``[N]`` of the readout, and the new rows ``[len(carried) + 2 sum(hidden), N]``.
        """
        weights = self.weights(phi)
        if state.shape[1] <= self.block or not graph_free((*phi.values(), *features, state)):
            y, new_rows = _step(self, weights, features, state)
            return y, torch.cat((*(row.unsqueeze(0) for row in carried), *new_rows))
        rows = state.new_empty(len(carried) + state.shape[0], state.shape[1])
        for row, new in zip(rows, carried, strict=False):
            row.copy_(new)
        ones = torch.ones_like(features[0])
        return _step_in_blocks(self, weights, torch.stack((*features, ones)), state, rows[len(carried) :]), rows


def graph_free(tensors: Sequence[Tensor]) -> bool:
    """:func:`plain` on a CPU, where blocks that fit the cache pay."""
    return all(t.device.type == "cpu" for t in tensors) and plain(tensors)


def plain(tensors: Sequence[Tensor]) -> bool:
    """True if nothing here is differentiated, vmapped or traced: ``out=`` is allowed."""
    if torch.compiler.is_compiling():
        return False
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    if any(wrapped(t) for t in tensors):
        return False
    return not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))


def _step(net: Network, weights: Weights, features: Sequence[Tensor], state: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The defining arithmetic, in ops that autograd, vmap and the compiler all know."""
    ones = torch.ones_like(state[:1])
    x = torch.stack((*features,))
    if weights.projection is not None:
        x = _elu(weights.projection.t() @ torch.cat((x, ones)))
    rows = []
    parts = torch.split(state, [h for h in net.hidden for _ in ("h", "c")])
    for layer, (w, h) in enumerate(zip(weights.gates, net.hidden, strict=True)):
        gates = w.t() @ torch.cat((x, parts[2 * layer], ones))
        i, j, forget_output = torch.split(gates, [h, h, 2 * h])
        f, o = torch.split(torch.sigmoid(forget_output), h)
        c = torch.addcmul(f * parts[2 * layer + 1], torch.sigmoid(i), torch.tanh(j))
        x = o * torch.tanh(c)
        rows += [x, c]
    return weights.readout @ x + weights.readout_bias, rows


class _LayerSpace:
    """Work space of one layer for one block of n coordinates."""

    def __init__(self, inputs: int, h: int, n: int, like: Tensor) -> None:
        self.z = like.new_ones(inputs + h + 1, n)
        self.x, self.h = self.z[:inputs], self.z[inputs : inputs + h]
        self.gates = like.new_empty(4 * h, n)
        self.i, self.j, self.f, self.o = torch.split(self.gates, h)
        self.forget_output = self.gates[2 * h :]
        self.tanh_c = like.new_empty(h, n)


def _elu(x: Tensor) -> Tensor:
    """ELU with derivative 1 at 0. ``exp - 1`` is exact enough here (6e-8 in float32), and a multiple faster than ``expm1``."""
    return torch.maximum(x, torch.exp(torch.clamp_max(x, 0.0)) - 1.0)


def elu_(x: Tensor) -> Tensor:
    """The same ELU in place, without a graph."""
    return torch.maximum(x, torch.clamp_max(x, 0.0).exp_().sub_(1.0), out=x)


def record_block(cached: int, per_coordinate: int, device: torch.device) -> int:
    """Coordinates whose record over a window is made at a time.

    Args:
        cached: As many as fit a CPU's cache.
        per_coordinate: Bytes of one coordinate's record.
        device: Elsewhere than on a CPU a block should be as large as ``DEVICE_RECORD_BYTES`` allow.
    """
    return cached if device.type == "cpu" else max(cached, DEVICE_RECORD_BYTES // per_coordinate)


def blocks(n: int, limit: int) -> list[int]:
    """Sizes of the fewest, nearly equal blocks of about ``limit`` that make up n > 0, cut at whole cache lines."""
    count = -(-n // limit)
    size = -(-n // count)
    size = -(-size // 16) * 16
    return [min(size, n - start) for start in range(0, n, size)]


def _step_in_blocks(net: Network, weights: Weights, features: Tensor, state: Tensor, rows: Tensor) -> Tensor:
    """:func:`_step` without a graph: blocks that fit the cache, buffers reused, results written in place into ``rows``."""
    sizes = blocks(state.shape[1], net.block)
    y = state.new_empty(state.shape[1])
    spaces: list[_LayerSpace] = []
    for f, s, r, out in zip(
        torch.split(features, sizes, 1),
        torch.split(state, sizes, 1),
        torch.split(rows, sizes, 1),
        torch.split(y, sizes),
        strict=True,
    ):
        if not spaces or spaces[0].z.shape[1] != out.shape[0]:
            spaces = [_LayerSpace(n, h, out.shape[0], state) for n, h in zip(net.inputs, net.hidden, strict=True)]
        _step_block(net, weights, f, s, r, out, spaces)
    return y.add_(weights.readout_bias)


def _step_block(
    net: Network, weights: Weights, features: Tensor, state: Tensor, rows: Tensor, y: Tensor, spaces: list[_LayerSpace]
) -> None:
    if weights.projection is None:
        spaces[0].x.copy_(features[:-1])
    else:
        elu_(torch.mm(weights.projection.t(), features, out=spaces[0].x))
    widths = [h for h in net.hidden for _ in ("h", "c")]
    old, new = torch.split(state, widths), torch.split(rows, widths)
    top = len(spaces) - 1
    for layer, (space, w) in enumerate(zip(spaces, weights.gates, strict=True)):
        space.h.copy_(old[2 * layer])
        torch.mm(w.t(), space.z, out=space.gates)
        space.i.sigmoid_()
        space.j.tanh_()
        space.forget_output.sigmoid_()
        c = torch.mul(space.f, old[2 * layer + 1], out=new[2 * layer + 1]).addcmul_(space.i, space.j)
        tanh_c = torch.tanh(c, out=space.tanh_c)
        if layer < top:
            new[2 * layer].copy_(torch.mul(space.o, tanh_c, out=spaces[layer + 1].x))
        else:
            torch.mul(space.o, tanh_c, out=new[2 * layer])
    torch.mv(new[2 * top].t(), weights.readout, out=y)
