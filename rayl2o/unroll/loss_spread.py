"""A learning curve over seeds in few numbers: quartiles of the running mean, at steps evenly spaced on a logarithmic axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 20
"""Losses that a point averages (the papers' mark)."""
POINTS = 160


def loss_spread(loss: NDArray[np.float64], points: int = POINTS) -> tuple[NDArray[np.float64], ...]:
    """Step, lower quartile, median and upper quartile over seeds of the mean of the last 20 losses (fewer at the start).

    Args:
        loss: ``[K, steps]``, in the task's unit.
        points: Steps at most.
    """
    steps = loss.shape[1]
    sums = np.concatenate([np.zeros((len(loss), 1)), np.cumsum(loss, axis=1)], axis=1)
    at = np.unique(np.geomspace(1, steps, points).round().astype(np.int64))
    start = np.maximum(at - WINDOW, 0)
    means = (sums[:, at] - sums[:, start]) / (at - start)
    low, middle, high = np.quantile(np.maximum(means, np.finfo(np.float32).tiny), (0.25, 0.5, 0.75), axis=0)
    return at.astype(np.float64), low, middle, high
