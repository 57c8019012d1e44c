"""Intervals: known answers, an independent BCa, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from rayl2o.errors import UserError
from rayl2o.evaluate.statistics import Bootstrap, Interval, mean_interval, paired_difference


def _bca(sample: NDArray[np.float64], resamples: int) -> tuple[float, float]:
    """Efron's interval written out, with other random numbers."""
    rng = np.random.default_rng(99)
    means = sample[rng.integers(len(sample), size=(resamples, len(sample)))].mean(1)
    jack = np.array([np.delete(sample, i).mean() for i in range(len(sample))])
    away = jack.mean() - jack
    skew = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    bias = norm.ppf(((means < sample.mean()).mean() + (means <= sample.mean()).mean()) / 2)
    levels = [norm.cdf(bias + (bias + z) / (1 - skew * (bias + z))) for z in norm.ppf([0.025, 0.975])]
    low, high = np.quantile(means, levels)
    return float(low), float(high)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_bca_written_out(seed: int) -> None:
    sample = np.random.default_rng(seed).lognormal(size=12)
    found, (low, high) = mean_interval(sample), _bca(sample, 100_000)
    assert found.mean == pytest.approx(sample.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03 * (high - low))


def test_covers_somewhat_less_often_than_it_says_with_ten_seeds() -> None:
    rng = np.random.default_rng(5)
    intervals = [mean_interval(rng.normal(1.0, 2.0, 10), Bootstrap(resamples=600)) for _ in range(300)]
    covered = np.mean([i.low <= 1.0 <= i.high for i in intervals])
    assert 0.85 < covered < 0.96


def test_pairing_removes_what_pairs_share() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 10, 15), rng.normal(0, 0.1, 15)
    gap = paired_difference(shared + 1.0 + own, shared)
    assert gap.mean == pytest.approx(1.0 + own.mean())
    assert 0.8 < gap.low < gap.mean < gap.high < 1.2
    assert gap.clear_of_zero
    assert not mean_interval(shared).clear_of_zero


def test_sign_follows_the_order_of_the_pair() -> None:
    a, b = np.array([1.0, 2.0, 4.0, 3.0, 2.5]), np.array([2.0, 2.5, 6.0, 5.5, 3.0])
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert one.mean == pytest.approx(-1.3)
    assert one.high < 0
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), rel=0.1)


def test_equal_numbers_have_no_spread() -> None:
    assert mean_interval([0.3] * 7) == Interval(pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.3))  # type: ignore[arg-type]
    assert paired_difference([1.0, 2.0], [1.0, 2.0]) == Interval(0.0, 0.0, 0.0)
    assert not paired_difference([1.0, 2.0], [1.0, 2.0]).clear_of_zero


def test_deterministic_and_wider_with_more_confidence() -> None:
    sample = np.random.default_rng(1).normal(size=10)
    assert mean_interval(sample) == mean_interval(sample)
    assert mean_interval(sample, Bootstrap(seed=1)) != mean_interval(sample)
    narrow, wide = mean_interval(sample, Bootstrap(confidence=0.5)), mean_interval(sample, Bootstrap(confidence=0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_bad_samples_are_refused() -> None:
    with pytest.raises(UserError, match="at least 2 seeds"):
        mean_interval([1.0])
    for bad in ([1.0, float("nan")], [1.0, float("inf")], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="one finite number per seed"):
            mean_interval(bad)
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])
