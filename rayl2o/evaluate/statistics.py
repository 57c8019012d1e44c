"""Intervals over seeds: the bootstrap (BCa) of a mean and of a paired mean difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

from rayl2o.errors import UserError


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        confidence: Nominal coverage.
        resamples: Number of resamples of the seeds.
        seed: Draws the resamples.
    """

    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0


BOOTSTRAP = Bootstrap()


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def clear_of_zero(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def mean_interval(values: ArrayLike, how: Bootstrap = BOOTSTRAP) -> Interval:
    """Mean of one number per seed with its bias-corrected and accelerated (BCa) bootstrap interval.

    Seeds are the units that are resampled. Deterministic. With about 10 seeds such an interval covers somewhat less often
    than its nominal level. Source: Efron, Better Bootstrap Confidence Intervals, JASA 1987.

    Raises:
        UserError: With fewer than two seeds, from which no spread can be told.
        ValueError: If a value is not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError(f"an interval needs one finite number per seed, got {sample}")
    if len(sample) < 2:
        raise UserError("an interval needs at least 2 seeds", value=len(sample), mend="use 10 seeds or more")
    mean = float(sample.mean())
    if np.ptp(sample) <= 1e-12 * abs(mean):  # BCa is undefined where every resample is the same
        return Interval(mean, mean, mean)
    limits = bootstrap(
        (sample,),
        np.mean,
        n_resamples=how.resamples,
        confidence_level=how.confidence,
        method="BCa",
        vectorized=True,
        rng=np.random.default_rng(how.seed),
    ).confidence_interval
    return Interval(mean, float(limits.low), float(limits.high))


def paired_difference(a: ArrayLike, b: ArrayLike, how: Bootstrap = BOOTSTRAP) -> Interval:
    """Interval of mean(a - b), where entry k of both comes from the same seed: same task, initialisation and batches.

    Resampling pairs is the same as resampling differences, so this is :func:`mean_interval` of ``a - b``.

    Raises:
        UserError: With fewer than two pairs.
        ValueError: If the lengths differ or a value is not finite.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"pairs need equal lengths, got {left.shape} and {right.shape}")
    return mean_interval(left - right, how)
