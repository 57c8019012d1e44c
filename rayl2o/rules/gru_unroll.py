"""U steps of the GRU cell as differentiable operations, one per block of coordinates: hand-written backpropagation through time.

Gradients are formed for the weights and for the state before the first step, which is where the learned initial state comes
in; the features are data. Memory is bounded as in :mod:`rayl2o.rules.lstm_unroll`: blocks beyond ``RECORD_BYTES`` run forward
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rayl2o.rules.gru_cell import GruCell
from rayl2o.rules.lstm import blocks, record_block
from rayl2o.rules.lstm_unroll import RECORD_BYTES

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def unroll_gru(
    cell: GruCell, phi: Mapping[str, Tensor], features: Tensor, state: Tensor, room: int = RECORD_BYTES
) -> tuple[Tensor, Tensor]:
    """Readouts ``[U, N]``, differentiable once in phi and ``state``, and the last state ``[h, N]``, detached.

    Args:
        cell: The cell.
        phi: Its weights.
        features: ``[U, F, N]``; no gradient flows to them.
        state: ``[h, N]`` before the first step.
        room: Bytes of activations to keep from the forward pass.
    """
    weights = cell.weights(phi)
    limit = record_block(cell.block, _record_bytes(cell, features[..., :1]), features.device)
    sizes = blocks(features.shape[-1], limit)
    readouts, ends = [], []
    for f, s in zip(torch.split(features, sizes, -1), torch.split(state, sizes, 1), strict=True):
        room -= _record_bytes(cell, f)
        y, end = _Block.apply(cell, room >= 0, f, s, weights.gates, weights.candidate, weights.readout)  # type: ignore[no-untyped-call]
        readouts.append(y)
        ends.append(end)
    return torch.cat(readouts, 1) + weights.readout_bias, torch.cat(ends, 1)


class _Record:
    """Activations over U steps of n coordinates; step t of everything is one contiguous slab."""

    def __init__(self, cell: GruCell, features: Tensor) -> None:
        steps, inputs, n = features.shape
        h = cell.hidden
        z, reset_z = features.new_empty(steps + 1, inputs + h + 1, n), features.new_empty(steps, inputs + h + 1, n)
        z[:-1, :inputs], reset_z[:, :inputs] = features, features
        z[:, -1], reset_z[:, -1] = 1.0, 1.0
        gates = features.new_empty(steps, 2 * h, n)
        self.z, self.h = z.unbind(), z[:, inputs : inputs + h].unbind()
        self.reset_z, self.reset_h = reset_z.unbind(), reset_z[:, inputs : inputs + h].unbind()
        self.gates, self.r, self.u = gates.unbind(), gates[:, :h].unbind(), gates[:, h:].unbind()
        self.c = features.new_empty(steps, h, n).unbind()


def _record_bytes(cell: GruCell, features: Tensor) -> int:
    steps, inputs, n = features.shape
    return ((2 * steps + 1) * (inputs + cell.hidden + 1) + 3 * steps * cell.hidden) * n * features.element_size()


def _forward(cell: GruCell, features: Tensor, state: Tensor, weights: tuple[Tensor, ...]) -> tuple[_Record, Tensor]:
    """The record of one block, and its readouts ``[U, n]`` without the bias."""
    gates, candidate, readout = weights
    r = _Record(cell, features)
    y = features.new_empty(features.shape[0], features.shape[2])
    r.h[0].copy_(state)
    for t, out in enumerate(y.unbind()):
        torch.mm(gates.t(), r.z[t], out=r.gates[t]).sigmoid_()
        torch.mul(r.r[t], r.h[t], out=r.reset_h[t])
        c = torch.mm(candidate.t(), r.reset_z[t], out=r.c[t]).tanh_()
        torch.sub(r.h[t], c, out=r.h[t + 1]).mul_(r.u[t]).add_(c)
        torch.mv(r.h[t + 1].t(), readout, out=out)
    return r, y


def _backward(
    r: _Record, weights: tuple[Tensor, ...], inputs: int, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``sum(dy y)`` over one block: of the state before it, the gates, the candidate and the readout."""
    gates, candidate, readout = weights
    h, n = len(readout), dy.shape[1]
    into_gates, into_candidate = gates[inputs : inputs + h], candidate[inputs : inputs + h]
    total = [torch.zeros_like(w) for w in weights]
    dh, kept, through_reset, dc = dy.new_zeros(h, n), dy.new_empty(h, n), dy.new_empty(h, n), dy.new_empty(h, n)
    d_gates = dy.new_empty(2 * h, n)
    dr, du = torch.split(d_gates, h)
    for t in range(dy.shape[0] - 1, -1, -1):
        total[2].addmv_(r.h[t + 1], dy[t])
        dh.addr_(readout, dy[t])
        torch.sub(r.h[t], r.c[t], out=du).mul_(dh)
        torch.mul(dh, r.u[t], out=kept)
        torch.sub(dh, kept, out=dc)
        _tanh_backward(dc, r.c[t], grad_input=dc)
        total[1].addmm_(r.reset_z[t], dc.t())
        torch.mm(into_candidate, dc, out=through_reset)
        torch.mul(through_reset, r.h[t], out=dr)
        kept.addcmul_(through_reset, r.r[t])
        _sigmoid_backward(d_gates, r.gates[t], grad_input=d_gates)
        total[0].addmm_(r.z[t], d_gates.t())
        torch.addmm(kept, into_gates, d_gates, out=dh)
    return dh, total[0], total[1], total[2]


class _Block(torch.autograd.Function):
    """``(cell, keep, features [U, F, n], state [h, n], gates, candidate, readout) -> (y [U, n], last state [h, n])``."""

    @staticmethod
    def forward(
        ctx: Any, cell: GruCell, keep: bool, features: Tensor, state: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        record, y = _forward(cell, features, state, weights)
        last = record.h[-1].clone()
        ctx.cell, ctx.record = cell, record if keep else None
        ctx.save_for_backward(features, state, *weights)
        ctx.mark_non_differentiable(last)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        features, state, *weights = ctx.saved_tensors
        record = ctx.record or _forward(ctx.cell, features, state, tuple(weights))[0]
        return None, None, None, *_backward(record, tuple(weights), features.shape[1], dy)
