"""U steps of the network as one differentiable operation: hand-written backpropagation through time, for the learner.

Gradients are formed for the weights, and for the features where they depend on weights; the state is data. The
record of a block (the activations of its U steps) is kept from the forward pass, up to ``RECORD_BYTES`` over all blocks; the
blocks beyond run forward again when their gradient is due, so that memory stays bounded whatever N is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rayl2o.rules.lstm import Network, Weights, blocks, elu_, plain, record_block

RECORD_BYTES = 128 * 2**20
"""Fresh memory costs about what it saves from here on."""

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_elu_backward = torch.ops.aten.elu_backward.grad_input


def unrollable(phi: Mapping[str, Tensor], grad: Tensor, coord: Tensor) -> bool:
    """True if a gradient with respect to phi, and to nothing else, is wanted from ordinary tensors."""
    wants = torch.is_grad_enabled() and any(w.requires_grad for w in phi.values())
    return (
        wants
        and not grad.requires_grad
        and not coord.requires_grad
        and plain([w.detach() for w in phi.values()] + [grad, coord])
    )


def unroll(net: Network, phi: Mapping[str, Tensor], features: Sequence[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """Readouts ``[U, N]``, differentiable in phi and features once, and the last state rows ``[2 sum(hidden), N]``, detached.

    Args:
        net: The network.
        phi: Its weights.
        features: One ``[U, N]`` per feature.
        state: Rows ``[2 sum(hidden), N]`` before the first step; no gradient flows to them.
    """
    ones = torch.ones_like(features[0])
    stacked = torch.stack((*features, ones), dim=1)
    y, last = _Unroll.apply(net, stacked, state, *(phi[name] for name in net.shapes()))  # type: ignore[no-untyped-call]
    return y, last


class _LayerRecord:
    """Activations of one layer over U steps of n coordinates; step t of everything is one contiguous slab."""

    def __init__(self, inputs: int, h: int, steps: int, n: int, like: Tensor) -> None:
        z = like.new_empty(steps + 1, inputs + h + 1, n)
        z[:, -1] = 1.0
        gates = like.new_empty(steps, 4 * h, n)
        self.inputs = inputs
        self.z, self.x, self.h = z.unbind(), z[:, :inputs].unbind(), z[:, inputs : inputs + h].unbind()
        self.gates, self.forget_output = gates.unbind(), gates[:, 2 * h :].unbind()
        self.i, self.j, self.f, self.o = (part.unbind() for part in torch.split(gates, h, dim=1))
        self.c = like.new_empty(steps + 1, h, n).unbind()
        self.tanh_c = like.new_empty(steps, h, n).unbind()


class _LayerGrad:
    """Accumulators of one layer while time runs backward, and work space for the gates of one step."""

    def __init__(self, inputs: int, h: int, n: int, like: Tensor) -> None:
        self.z = like.new_zeros(inputs + h, n)
        self.x, self.h = self.z[:inputs], self.z[inputs:]
        self.c = like.new_zeros(h, n)
        self.work = like.new_empty(h, n)
        self.gates = like.new_empty(4 * h, n)
        self.i, self.j, self.f, self.o = torch.split(self.gates, h)
        self.forget_output = self.gates[2 * h :]


def _record(net: Network, steps: int, n: int, like: Tensor) -> list[_LayerRecord]:
    return [_LayerRecord(inputs, h, steps, n, like) for inputs, h in zip(net.inputs, net.hidden, strict=True)]


def _sizes(net: Network, features: Tensor) -> list[int]:
    """Sizes of the blocks of ``features [U, F + 1, N]``."""
    steps, _, n = features.shape
    return blocks(n, record_block(net.block, _record_bytes(net, steps, 1, features), features.device))


def _record_bytes(net: Network, steps: int, n: int, like: Tensor) -> int:
    floats = sum((steps + 1) * (inputs + 7 * h + 1) for inputs, h in zip(net.inputs, net.hidden, strict=True))
    return floats * n * like.element_size()


def _forward(
    net: Network, weights: Weights, features: Tensor, state: Tensor, record: list[_LayerRecord], y: Tensor
) -> None:
    """Fills the record and ``y [U, n]`` from ``features [U, F + 1, n]`` and ``state [S, n]``."""
    rows = torch.split(state, [h for h in net.hidden for _ in ("h", "c")])
    top = len(record) - 1
    for layer, r in enumerate(record):
        r.h[0].copy_(rows[2 * layer])
        r.c[0].copy_(rows[2 * layer + 1])
    for t, (f, out) in enumerate(zip(features.unbind(), y.unbind(), strict=True)):
        if weights.projection is None:
            record[0].x[t].copy_(f[:-1])
        else:
            elu_(torch.mm(weights.projection.t(), f, out=record[0].x[t]))
        for layer, (r, w) in enumerate(zip(record, weights.gates, strict=True)):
            torch.mm(w.t(), r.z[t], out=r.gates[t])
            r.i[t].sigmoid_()
            r.j[t].tanh_()
            r.forget_output[t].sigmoid_()
            c = torch.mul(r.f[t], r.c[t], out=r.c[t + 1]).addcmul_(r.i[t], r.j[t])
            torch.mul(r.o[t], torch.tanh(c, out=r.tanh_c[t]), out=r.h[t + 1])
            if layer < top:
                record[layer + 1].x[t].copy_(r.h[t + 1])
        torch.mv(record[top].h[t + 1].t(), weights.readout, out=out)
    y.add_(weights.readout_bias)


def _backward(
    net: Network,
    weights: Weights,
    features: Tensor,
    record: list[_LayerRecord],
    dy: Tensor,
    total: Weights,
    d_features: Tensor | None,
) -> None:
    """Adds the gradient of ``sum(dy y)`` over one block to ``total``, and writes that of the features ``[U, F + 1, n]``."""
    n = dy.shape[1]
    grads = [_LayerGrad(inputs, h, n, dy) for inputs, h in zip(net.inputs, net.hidden, strict=True)]
    top = len(record) - 1
    total.readout_bias.add_(dy.sum())
    for t in range(dy.shape[0] - 1, -1, -1):
        total.readout.addmv_(record[top].h[t + 1], dy[t])
        grads[top].h.addr_(weights.readout, dy[t])
        for layer in range(top, -1, -1):
            r, d = record[layer], grads[layer]
            if layer < top:
                d.h.add_(grads[layer + 1].x)
            _backward_gates(r, d, t)
            total.gates[layer].addmm_(r.z[t], d.gates.t())
            if layer > 0 or weights.projection is not None or d_features is not None:
                torch.mm(weights.gates[layer][:-1], d.gates, out=d.z)
            else:
                torch.mm(weights.gates[layer][r.inputs : -1], d.gates, out=d.h)
        if weights.projection is not None and total.projection is not None:
            dx = grads[0].x
            _elu_backward(dx, 1.0, 1.0, 1.0, True, record[0].x[t], grad_input=dx)
            total.projection.addmm_(features[t], dx.t())
            if d_features is not None:
                torch.mm(weights.projection[:-1], dx, out=d_features[t, :-1])
        elif d_features is not None:
            d_features[t, :-1].copy_(grads[0].x)


def _backward_gates(r: _LayerRecord, d: _LayerGrad, t: int) -> None:
    """From the gradients of h[t + 1] and c[t + 1] to those of the gates before their nonlinearity, and of c[t]."""
    tanh_c = r.tanh_c[t]
    torch.mul(d.h, tanh_c, out=d.o)
    torch.mul(d.h, r.o[t], out=d.work)
    d.c.add_(_tanh_backward(d.work, tanh_c, grad_input=d.work))
    torch.mul(d.c, r.j[t], out=d.i)
    torch.mul(d.c, r.i[t], out=d.j)
    torch.mul(d.c, r.c[t], out=d.f)
    d.c.mul_(r.f[t])
    _sigmoid_backward(d.i, r.i[t], grad_input=d.i)
    _tanh_backward(d.j, r.j[t], grad_input=d.j)
    _sigmoid_backward(d.forget_output, r.forget_output[t], grad_input=d.forget_output)


class _Unroll(torch.autograd.Function):
    """``(net, features [U, F + 1, N], state [S, N], *weights) -> (y [U, N], last state [S, N])``."""

    @staticmethod
    def forward(ctx: Any, net: Network, features: Tensor, state: Tensor, *phi: Tensor) -> tuple[Tensor, Tensor]:
        weights = net.weights(dict(zip(net.shapes(), phi, strict=True)))
        steps, _, n = features.shape
        y, last = features.new_empty(steps, n), torch.empty_like(state)
        sizes = _sizes(net, features)
        kept: list[list[_LayerRecord] | None] = []
        spare: list[_LayerRecord] = []
        room = RECORD_BYTES
        for f, s, end, out in zip(
            torch.split(features, sizes, -1),
            torch.split(state, sizes, 1),
            torch.split(last, sizes, 1),
            torch.split(y, sizes, 1),
            strict=True,
        ):
            size = out.shape[1]
            room -= _record_bytes(net, steps, size, y)
            record = spare if spare and spare[0].c[0].shape[1] == size else _record(net, steps, size, y)
            _forward(net, weights, f, s, record, out)
            torch.cat([part for r in record for part in (r.h[steps], r.c[steps])], out=end)
            kept.append(record if room >= 0 else None)
            spare = [] if room >= 0 else record
        ctx.net, ctx.kept = net, kept
        ctx.save_for_backward(features, state, *phi)
        ctx.mark_non_differentiable(last)
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        net: Network = ctx.net
        features, state, *phi = ctx.saved_tensors
        weights = net.weights(dict(zip(net.shapes(), phi, strict=True)))
        total = _zeros_like(weights)
        steps = features.shape[0]
        sizes = _sizes(net, features)
        spare: list[_LayerRecord] = []
        d_features = torch.zeros_like(features) if ctx.needs_input_grad[1] else None
        wanted = [None] * len(sizes) if d_features is None else torch.split(d_features, sizes, -1)
        for f, s, d, df, record in zip(
            torch.split(features, sizes, -1),
            torch.split(state, sizes, 1),
            torch.split(dy, sizes, 1),
            wanted,
            ctx.kept,
            strict=True,
        ):
            if record is None:
                size = d.shape[1]
                if not spare or spare[0].c[0].shape[1] != size:
                    spare = _record(net, steps, size, state)
                _forward(net, weights, f, s, spare, torch.empty_like(d))
            _backward(net, weights, f, spare if record is None else record, d, total, df)
        return None, d_features, None, *_by_name(total)


def _zeros_like(weights: Weights) -> Weights:
    return Weights(
        None if weights.projection is None else torch.zeros_like(weights.projection),
        tuple(torch.zeros_like(w) for w in weights.gates),
        torch.zeros_like(weights.readout),
        torch.zeros_like(weights.readout_bias),
    )


def _by_name(total: Weights) -> list[Tensor]:
    """The gradients in the order of :meth:`Network.shapes`, biases apart again."""
    joined = total.gates if total.projection is None else (total.projection, *total.gates)
    apart = [part for w in joined for part in (w[:-1], w[-1])]
    return [*apart, total.readout.unsqueeze(-1), total.readout_bias]
