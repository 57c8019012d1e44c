"""Trajectories of many runs, in parts that a ``pmap`` may send anywhere, and the same trajectories with stretched gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.symbolic.engines.base import Pmap
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.trajectories import Trajectories, collect

PART = 4
"""Runs side by side in one part: fixed, so that the record does not depend on who does the work."""


@dataclass(frozen=True)
class _Part:
    rule: Rule
    phi: Mapping[str, Tensor]
    runs: Runs
    steps: int
    per_tensor: int
    seed: int


def collect_all(
    rule: Rule,
    phi: Mapping[str, Tensor],
    runs: Runs,
    steps: int,
    per_tensor: int = 16,
    seed: int = 0,
    pmap: Pmap = map,
) -> Trajectories:
    """As :func:`~rayl2o.symbolic.trajectories.collect`, :data:`PART` runs at a time.

    Raises:
        UserError: As there.
    """
    parts = [_Part(rule, phi, part, steps, per_tensor, seed) for part in runs.parts(PART)]
    return joined(list((pmap if len(parts) > 1 else map)(_collected, parts)))


def _collected(part: _Part) -> Trajectories:
    return collect(part.rule, part.phi, part.runs, part.steps, part.per_tensor, part.seed)


def joined(parts: Sequence[Trajectories]) -> Trajectories:
    """Records of different runs of one family side by side; those that ended early are filled up with zeros that do not count."""
    first, steps = parts[0], max(part.steps for part in parts)

    def filled(values: Tensor) -> Tensor:
        return torch.cat((values, values.new_zeros(steps - len(values), values.shape[1])))

    counts = torch.tensor([part.grad.shape[1] for part in parts], dtype=torch.float64)
    dead = torch.tensor([part.dead_share for part in parts], dtype=torch.float64)
    return replace(
        first,
        grad=torch.cat([filled(part.grad) for part in parts], dim=1),
        delta=torch.cat([filled(part.delta) for part in parts], dim=1),
        valid=torch.cat([part.valid for part in parts]),
        tensor=torch.cat([part.tensor for part in parts]),
        run=torch.cat([part.run for part in parts]),
        dead_share=float((counts * dead).sum() / counts.sum()),
    )


def stretched(rule: Rule, phi: Mapping[str, Tensor], trajectories: Trajectories, factor: float) -> Trajectories | None:
    """The same gradients times ``factor``, and what the rule answers to them: how it behaves outside its usual range.

    None for a rule that reads parameters or the loss: nobody knows what those would be.
    """
    if rule.needs:
        return None
    grad = trajectories.grad * factor
    state = rule.init_state(phi, Layout.flat(grad.shape[1]), 1, dtype=grad.dtype)
    step = torch.arange(len(grad), dtype=grad.dtype)[:, None]
    with torch.no_grad():
        delta, _ = rule.sequence(phi, Inputs(grad=grad, step=step), {"coord": state["coord"][0]})
    return replace(
        trajectories, grad=grad, delta=torch.where(torch.arange(len(grad))[:, None] < trajectories.valid, delta, 0.0)
    )
