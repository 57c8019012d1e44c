"""Segments of rules that need whole tensors: every coordinate in its place, instances of one layout side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule, State
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.registry import build
from rayl2o.unroll.segment import Segment


@dataclass(frozen=True)
class Whole:
    """Segments of one layout, K instances in all, in (slot, ordinal, segment, instance) order.

    Attributes:
        layout: Of the D coordinates.
        grad, credit, delta: ``[U, K, D]``; ``credit`` is 0 where the student did not act.
        counted: ``[U, K, 1]``, 1 for steps that count.
        step: ``[U, K, 1]``, updates made before.
        loss: ``[U, K, 1]`` at the params before each step; the last sound one from a divergence on.
        params: ``[U, K, D]`` before each step; None where the segments do not say where they began.
        state: The rule's state before the first step.
    """

    layout: Layout
    grad: Tensor
    credit: Tensor
    delta: Tensor
    counted: Tensor
    step: Tensor
    loss: Tensor
    params: Tensor | None
    state: State

    def deltas(self, rule: Rule, phi: Mapping[str, Tensor]) -> Tensor:
        """``[U, K, D]``, the rule's updates on what was seen, differentiable in phi."""
        inputs = Inputs(
            grad=self.grad,
            step=self.step,
            params=self.params if "params" in rule.needs else None,
            loss=self.loss if "loss" in rule.needs else None,
            layout=self.layout if "layout" in rule.needs else None,
        )
        return rule.sequence(phi, inputs, self.state)[0]


def wholes(segments: Sequence[Segment]) -> list[Whole]:
    """One per layout among the segments. Raises ValueError if a segment lacks coordinates."""
    ordered = sorted(segments, key=lambda segment: segment.key)
    layouts = [_layout(segment.source.specs[0]) for segment in ordered]
    places = sorted(range(len(ordered)), key=lambda i: (json.dumps(layouts[i].to_json()), i))
    return [
        _side_by_side([ordered[i] for i in group], layout)
        for layout, group in groupby(places, key=lambda i: layouts[i])
    ]


@lru_cache(maxsize=64)
def _layout(spec: str) -> Layout:
    return build([TaskSpec.from_json(json.loads(spec))]).layout


def _side_by_side(segments: Sequence[Segment], layout: Layout) -> Whole:
    for segment in segments:
        if segment.coords.shape[1] != layout.size or not bool((segment.coords[0].diff() == 1).all()):
            raise ValueError(
                f"a rule that needs whole tensors was given {segment.coords.shape[1]} of {layout.size} coordinates"
            )

    def time_first(name: str) -> Tensor:
        return torch.cat([getattr(segment, name) for segment in segments]).transpose(0, 1)

    steps = torch.arange(segments[0].steps, device=segments[0].grad.device)
    valid = torch.cat([segment.valid for segment in segments])
    begin = torch.tensor([float(segment.source.start_step) for segment in segments for _ in range(segment.k)])
    grad, delta = time_first("grad"), time_first("delta")
    start = [segment.params for segment in segments if segment.params is not None]
    state: State = {"coord": torch.cat([segment.coord_state for segment in segments])}
    for name in ("tensor", "global"):
        parts = [part for segment in segments if (part := getattr(segment, f"{name}_state")) is not None]
        if parts:
            state[name] = torch.cat(parts)
    return Whole(
        layout=layout,
        grad=grad,
        credit=time_first("credit") * (time_first("actor") == 0)[..., None],
        delta=delta,
        counted=(steps[:, None] < valid[None])[..., None].to(grad.dtype),
        step=(steps[:, None] + begin.to(steps.device))[..., None].to(grad.dtype),
        loss=_heard(time_first("loss")[:-1], valid),
        params=torch.cat(start) + delta.cumsum(0) - delta if start else None,
        state=state,
    )


def _heard(loss: Tensor, valid: Tensor) -> Tensor:
    """``[U, K, 1]``: losses at the points where the rule stood; a diverged instance stands at its last sound one."""
    at = torch.arange(len(loss), device=loss.device)[:, None].minimum(valid[None].long())
    return torch.nan_to_num(loss.gather(0, at), nan=0.0, posinf=0.0, neginf=0.0)[..., None]
