"""From segments to a scalar whose gradient in phi is the meta-gradient: returns-to-go, and imitation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.meta.whole import wholes
from rayl2o.rules.base import Inputs, Rule, State
from rayl2o.unroll.segment import Segment


@dataclass(frozen=True)
class Columns:
    """Segments of equal U laid side by side: one column per kept coordinate, in (slot, ordinal, segment, instance) order.

    Attributes:
        grad, step, credit, delta: ``[U, N]``; ``credit`` is already 0 where the student did not act.
        counted: ``[U, N]``, 1 for steps that count.
        weight: ``[N]`` importance weights.
        size: ``[N]``, the number of coordinates that the column's row stands for.
        state: ``{"coord": [N, S]}``.
        params: ``[U, N]`` where the rule needs them, else None.
        rows: Instances in all.
    """

    grad: Tensor
    step: Tensor
    credit: Tensor
    delta: Tensor
    counted: Tensor
    weight: Tensor
    size: Tensor
    state: State
    rows: int
    params: Tensor | None = None


def columns(segments: Sequence[Segment]) -> Columns:
    """Concatenates segments in their fixed order, so that the result never depends on who made them or when."""
    ordered = sorted(segments, key=lambda segment: segment.key)

    def side_by_side(parts: list[Tensor]) -> Tensor:
        """``[K, U, C]`` each to ``[U, N]``."""
        return torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)

    def per_row(segment: Segment, values: Tensor) -> Tensor:
        """``[K, U]`` repeated over the C coordinates."""
        return values[..., None].expand(-1, -1, segment.coords.shape[1])

    times = [torch.arange(s.steps, device=s.grad.device) for s in ordered]
    student = [(s.actor == 0).to(s.credit.dtype) for s in ordered]
    counted = [(t[None] < s.valid[:, None]).to(s.grad.dtype) for s, t in zip(ordered, times, strict=True)]
    step = [(t + s.source.start_step).to(s.grad.dtype).expand(s.k, -1) for s, t in zip(ordered, times, strict=True)]
    return Columns(
        grad=side_by_side([s.grad for s in ordered]),
        step=side_by_side([per_row(s, x) for s, x in zip(ordered, step, strict=True)]),
        credit=side_by_side([s.credit * per_row(s, x) for s, x in zip(ordered, student, strict=True)]),
        delta=side_by_side([s.delta for s in ordered]),
        counted=side_by_side([per_row(s, x) for s, x in zip(ordered, counted, strict=True)]),
        weight=torch.cat([s.weight.flatten() for s in ordered]),
        size=torch.cat([s.weight.sum(1, keepdim=True).expand_as(s.weight).flatten() for s in ordered]),
        state={"coord": torch.cat([s.coord_state.flatten(0, 1) for s in ordered])},
        rows=sum(s.k for s in ordered),
        params=None if ordered[0].params is None else side_by_side([_points(s) for s in ordered]),
    )


def _points(segment: Segment) -> Tensor:
    """``[K, U, C]``, the params before each update at the kept coordinates: where it began, and the displacements made."""
    assert segment.params is not None
    start = segment.params.gather(1, segment.coords.long())
    return start[:, None] + segment.delta.cumsum(1) - segment.delta


def rtg_loss(rule: Rule, phi: Mapping[str, Tensor], segments: Sequence[Segment]) -> Tensor:
    """Returns-to-go surrogate: its gradient in phi is the mean over instances of dL/dphi (its value means nothing).

    ``sum_s credit[s] . delta[s](phi)``, importance-weighted over coordinates, through one recurrent pass of the rule. Exactly
    0, with gradient 0, for a teacher's trajectory. Self-improving (T) needs nothing more: the credit is masked by who acted.
    """
    if not rule.coordinatewise:
        parts = [(whole.credit * whole.deltas(rule, phi)).sum() for whole in wholes(segments)]
        return torch.stack(parts).sum() / sum(segment.k for segment in segments)
    table = columns(segments)
    deltas, _ = rule.sequence(phi, Inputs(table.grad, table.step, table.params), table.state)
    return (table.credit * table.weight * deltas).sum() / table.rows


def imitation_loss(rule: Rule, phi: Mapping[str, Tensor], segments: Sequence[Segment]) -> Tensor:
    """Imitation (T, Algorithm 2): half the mean square over coordinates of (student's update - displacement made).

    Summed over the window, mean over instances. The student hears the gradients of the trajectory as it was.
    """
    if not rule.coordinatewise:
        parts = [
            ((whole.deltas(rule, phi) - whole.delta).square() * whole.counted).mean(-1).sum()
            for whole in wholes(segments)
        ]
        return 0.5 * torch.stack(parts).sum() / sum(segment.k for segment in segments)
    table = columns(segments)
    deltas, _ = rule.sequence(phi, Inputs(table.grad, table.step, table.params), table.state)
    miss = (deltas - table.delta).square() * table.counted
    return 0.5 * (miss * table.weight / table.size).sum() / table.rows
