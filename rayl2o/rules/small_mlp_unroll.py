"""U steps of the small MLP as one differentiable operation, for the learner: no graph over the steps.

What the network sees depends on phi through the decays only. So the backward pass is another sweep *forward* in time, one step
after another: it carries the derivative of every moment in its own rate beside the moment, and needs no state of later steps.
Features are kept from the forward pass up to ``RECORD_BYTES``; those of later steps are made again, so that memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.lstm_unroll import RECORD_BYTES
from rayl2o.rules.small_mlp_features import (
    Moments,
    advance,
    factored_counts,
    features,
    inverse_rms,
    row_means,
    targets,
)
from rayl2o.rules.small_mlp_network import SmallNetwork

Pieces = tuple[Tensor, ...]


def observations(layout: Layout, inputs: Inputs, after: Moments) -> Iterator[Pieces]:
    """The features of one tensor after another at a step, whose moments are ``after``; see :func:`features`."""
    assert inputs.params is not None
    sizes = list(layout.sizes)
    tensors = zip(
        layout.shapes,
        torch.split(inputs.grad, sizes, 1),
        torch.split(inputs.params, sizes, 1),
        torch.split(after.coord, sizes, 2),
        torch.split(after.factored, factored_counts(layout), 2),
        strict=True,
    )
    return (features(*tensor) for tensor in tensors)


def unroll_small(
    net: SmallNetwork,
    phi: Mapping[str, Tensor],
    rates: tuple[Tensor, Tensor],
    inputs: Inputs,
    before: Moments,
    room: int = RECORD_BYTES,
) -> tuple[Tensor, Moments]:
    """``deltas [U, K, D]``, differentiable once in phi and the rates, and the last moments, detached.

    Args:
        net: The network.
        phi: Its weights.
        rates: ``[4, 1, 1]`` and ``[3, 1, 1]``, as :func:`advance` takes them.
        inputs: ``grad``, ``params [U, K, D]``, ``step [U, 1, 1]`` or ``[U, K, 1]``, ``layout``; no gradient flows to them.
        before: Moments before the first step, likewise.
        room: Bytes of features to keep from the forward pass.
    """
    assert inputs.layout is not None
    assert inputs.params is not None
    steps = inputs.step.expand(len(inputs.grad), *inputs.step.shape[1:])
    if bool((steps == steps[:, :1]).all()):  # instances of one age share its embedding
        steps = steps[:, :1]
    rows = (inputs.grad.contiguous(), steps, inputs.params.contiguous())
    seen = [Inputs(*each) for each in zip(*rows, strict=True)]
    window = _Window(net, inputs.layout, seen, before, room)
    weights = [phi[name] for name in net.shapes()]
    deltas, coord, factored = _Unroll.apply(window, *rates, *weights)  # type: ignore[no-untyped-call]
    return deltas, Moments(coord, factored)


@dataclass(frozen=True)
class _Window:
    """All that is data: the inputs of every step and the moments before the first."""

    net: SmallNetwork
    layout: Layout
    steps: Sequence[Inputs]
    before: Moments
    room: int


class _Unroll(torch.autograd.Function):
    """``(window, coord rates, factored rates, *weights) -> (deltas, last coord moments, last factored moments)``."""

    @staticmethod
    def forward(ctx: Any, window: _Window, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        net, layout, now, room = window.net, window.layout, window.before, window.room
        phi = dict(zip(net.shapes(), tensors[2:], strict=True))
        deltas, records, reached = [], [], window.before
        for seen in window.steps:
            now = advance(now, targets(layout, seen.grad), tensors[0], tensors[1])
            record = [_normalise(pieces) for pieces in observations(layout, seen, now)]
            deltas.append(torch.cat([net.displacement(phi, x, seen.step) for x, _ in record], 1))
            room -= sum(x.nbytes for x, _ in record)
            if room >= 0:
                records.append(record)
                reached = now
        ctx.window, ctx.records, ctx.reached = window, records, reached
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(now.coord, now.factored)
        return torch.stack(deltas), now.coord, now.factored

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_deltas: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        learned = any(ctx.needs_input_grad[1:3])
        sweep = _Sweep(ctx.window, ctx.saved_tensors, ctx.window.before if learned else ctx.reached, learned)
        for u, (seen, upstream) in enumerate(zip(ctx.window.steps, d_deltas, strict=True)):
            sweep.take(seen, upstream, ctx.records[u] if u < len(ctx.records) else None)
        return None, *sweep.total


class _Sweep:
    """The backward pass: goes through the steps in their order and adds up the gradients of rates and weights in ``total``."""

    def __init__(self, window: _Window, tensors: Sequence[Tensor], before: Moments, learned: bool) -> None:
        self.net, self.layout, self.learned = window.net, window.layout, learned
        self.rates = Moments(tensors[0], tensors[1])
        self.phi = dict(zip(self.net.shapes(), tensors[2:], strict=True))
        self.total = [torch.zeros_like(tensor) for tensor in tensors]
        self.moments = before
        self.by_rate = Moments(torch.zeros_like(before.coord), torch.zeros_like(before.factored))

    def take(self, seen: Inputs, upstream: Tensor, record: list[tuple[Tensor, Tensor]] | None) -> None:
        """Adds the part of one step; ``record`` is what the forward pass kept of it."""
        if record is None or self.learned:
            self._advance(seen)
            after = Moments(*(rows.detach().requires_grad_(self.learned) for rows in _rows(self.moments)))
            with torch.set_grad_enabled(self.learned):
                pieces = list(observations(self.layout, seen, after))
            record = record or [_normalise(piece) for piece in pieces]
        d_raw = []
        for (x, factor), d_delta in zip(record, torch.split(upstream, list(self.layout.sizes), 1), strict=True):
            dx = torch.empty_like(x) if self.learned else None
            for total, part in zip(self.total[2:], self.net.pullback(self.phi, x, seen.step, d_delta, dx), strict=True):
                total += part
            if dx is not None:
                d_raw.append(dx.addcmul_(x, row_means(dx * x), value=-1.0).mul_(factor))
        if self.learned:
            self._add_rates(pieces, after, d_raw)

    def _advance(self, seen: Inputs) -> None:
        aims, before = targets(self.layout, seen.grad), self.moments
        self.moments = advance(before, aims, *_rows(self.rates))
        if self.learned:
            old, rates = _rows(self.by_rate), _rows(self.rates)
            gaps = [aim - row for aim, row in zip(_rows(aims), _rows(before), strict=True)]
            self.by_rate = Moments(*(torch.addcmul(g, t, 1.0 - r) for g, t, r in zip(gaps, old, rates, strict=True)))

    def _add_rates(self, pieces: list[Pieces], after: Moments, d_raw: list[Tensor]) -> None:
        of_moments = [piece for tensor in pieces for piece in tensor[2:]]  # all but g and p
        upstream = [
            part
            for d, tensor in zip(d_raw, pieces, strict=True)
            for part in torch.split(d, [len(piece) for piece in tensor])[2:]
        ]
        found = torch.autograd.grad(of_moments, _rows(after), upstream)
        for total, part, by_rate in zip(self.total[:2], found, _rows(self.by_rate), strict=True):
            total += (part * by_rate).sum((1, 2), keepdim=True)


def _rows(moments: Moments) -> tuple[Tensor, Tensor]:
    return moments.coord, moments.factored


def _normalise(pieces: Pieces) -> tuple[Tensor, Tensor]:
    """Features ``[28, K, n]`` with a mean square of 1 over the tensor, outside any graph, and the factors ``[28, K, 1]``."""
    with torch.no_grad():
        x = torch.cat(pieces)
        factor = inverse_rms(x * x)
        return x.mul_(factor), factor
