"""An exponential moving average of phi over the learner's updates, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from rayl2o.rules.base import Phi


@dataclass(frozen=True)
class Average:
    """A weighted mean of the phi of so many updates, the newest weighing most.

    Attributes:
        phi: The mean, by name; ``{}`` before the first update.
        updates: How many are in it.
    """

    phi: Phi = field(default_factory=dict)
    updates: int = 0


def averaged(decay: float, average: Average, phi: Phi) -> Average:
    """The average with one more phi: weights proportional to ``decay ** age`` that add up to 1, as Adam corrects its bias.

    Args:
        decay: In [0, 1); 0 keeps no average.
        average: Before.
        phi: After the update.
    """
    if not decay:
        return average
    updates = average.updates + 1
    share = (1.0 - decay) / (1.0 - decay**updates)
    mean = {name: torch.lerp(average.phi.get(name, value), value, share) for name, value in phi.items()}
    return Average(mean, updates)
