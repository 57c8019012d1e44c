"""Sparse linear fits: least squares on their support, exchanges where the greedy choice is wrong."""

from __future__ import annotations

import numpy as np

from rayl2o.symbolic.linear import pursue, ridge


def test_pursuit_equals_least_squares_on_its_support() -> None:
    x = np.random.default_rng(0).normal(size=(300, 10))
    y = x @ np.arange(10.0) ** 2 + np.random.default_rng(1).normal(size=300)
    for chosen, weights in pursue(x, y, [1, 3, 10]):
        np.testing.assert_allclose(weights, np.linalg.lstsq(x[:, chosen], y, rcond=None)[0])
    assert [chosen for chosen, _ in pursue(x, y, [1, 2])] == [(9,), (8, 9)]


def test_exchange_repairs_a_greedy_choice() -> None:
    """The classic trap: the column nearest y is of no use once the true pair is in."""
    draws = np.random.default_rng(0)
    a, b, rest = draws.normal(size=(3, 500))
    x = np.stack([a, b, a + b + 0.3 * rest], axis=1)
    y = a + b
    assert 2 in pursue(x, y, [2], exchange=False)[0][0]
    assert pursue(x, y, [2], exchange=True)[0][0] == (0, 1)


def test_pursuit_stops_at_an_exact_fit_and_takes_columns_of_zeros() -> None:
    x = np.random.default_rng(0).normal(size=(200, 6))
    x[:, 4] = 0.0
    fits = pursue(x, 2 * x[:, 1] - x[:, 3], [1, 2, 4, 6])
    assert fits[-1][0] == (1, 3)
    np.testing.assert_allclose(fits[-1][1], [2.0, -1.0])


def test_ridge_is_least_squares_for_a_vanishing_penalty() -> None:
    x = np.random.default_rng(0).normal(size=(300, 5))
    y = x @ np.arange(5.0) + 1.0
    np.testing.assert_allclose(ridge(x, y, 1e-12), np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-6)
    assert np.linalg.norm(ridge(x, y, 10.0)) < np.linalg.norm(ridge(x, y, 1e-12))
