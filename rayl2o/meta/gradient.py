"""What reaches the learner where segments do not: a gradient of phi that the roll-out's process made, and its tally."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from rayl2o.rules.base import Phi
from rayl2o.unroll.segment import OK, Provenance, Segment


@dataclass(frozen=True)
class Tally:
    """What the metrics need of a segment.

    Attributes:
        loss: Sum of the finite losses at the points that count, in the task's unit; points: how many there are.
        steps: Inner steps that count, all instances.
        status: ``ok`` or ``diverged`` per instance.
    """

    loss: float
    points: int
    steps: int
    status: tuple[str, ...]


@dataclass(frozen=True)
class Gradient:
    """The meta-gradient of one segment. All estimators but ``rtg`` make them.

    Attributes:
        source: Provenance of the segment that it stands for; ``behaviour`` says which loss it is of: a teacher's is of the
            imitation loss, any other of the task's meta-loss.
        grads: Mean over the K instances (of evolution strategies: over all particles), by name, as phi.
        objective: The loss whose gradient it is, mean over the K instances (of ``rtg`` a surrogate whose value means nothing).
        tally: Of the segment; of evolution strategies of the particles, each with a status.
    """

    source: Provenance
    grads: Phi
    objective: float
    tally: Tally

    @property
    def key(self) -> tuple[int, int, int]:
        """(slot, ordinal, segment): the order in which the learner adds."""
        return (self.source.slot, self.source.ordinal, self.source.segment)

    @property
    def rows(self) -> int:
        """K, the instances that it is a mean over."""
        return len(self.tally.status)


Contribution = Segment | Gradient
"""What a job hands to the learner."""


def tally(contribution: Contribution) -> Tally:
    """The tally of a segment, or the one that a gradient brought."""
    if isinstance(contribution, Gradient):
        return contribution.tally
    points = torch.arange(contribution.loss.shape[1], device=contribution.loss.device)
    counted = points[None] <= contribution.valid[:, None]
    counted &= torch.isfinite(contribution.loss)
    return Tally(
        loss=float(contribution.loss[counted].double().sum()),
        points=int(counted.sum()),
        steps=int(contribution.valid.sum()),
        status=contribution.status,
    )


def mean_loss(tallies: Iterable[Tally]) -> float:
    """Mean loss over all points that count; 0 if there is none."""
    total, points = 0.0, 0
    for one in tallies:
        total += one.loss
        points += one.points
    return total / max(points, 1)


def diverged(tallies: Iterable[Tally]) -> int:
    """How many instances diverged."""
    return sum(status != OK for one in tallies for status in one.status)


def combine(gradients: Sequence[Gradient]) -> tuple[Phi, float]:
    """The mean over all instances of all gradients, and that of the objective.

    Added in (slot, ordinal, segment) order, weighted by rows, whatever the order of arrival: equal to the gradient over the
    concatenated segments up to rounding.
    """
    ordered = sorted(gradients, key=lambda gradient: gradient.key)
    rows = sum(gradient.rows for gradient in ordered)
    total = {name: torch.zeros_like(value) for name, value in ordered[0].grads.items()}
    objective = 0.0
    for gradient in ordered:
        objective += gradient.objective * gradient.rows
        for name, value in gradient.grads.items():
            total[name] += value * gradient.rows
    return {name: value / rows for name, value in total.items()}, objective / rows
