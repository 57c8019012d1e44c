"""The linear head against plain least squares."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LinearRegression

from rayl2o.symbolic.engines.base import Floats
from rayl2o.symbolic.engines.head import Pool, fold_errors, forward, weights


def _columns(seed: int = 0, rows: int = 200, width: int = 12) -> Floats:
    return np.random.default_rng(seed).standard_normal((rows, width))


def test_finds_the_columns_of_a_sum_and_stops() -> None:
    x = _columns()
    y = 3 * x[:, 4] - 2 * x[:, 7] + 0.5 * x[:, 1]
    assert forward(Pool(x, np.ones(12)), y, 10) == [4, 7, 1]


def test_each_step_is_the_best_single_addition() -> None:
    x = _columns(1) + _columns(2)[:, :1]
    y = x @ np.linspace(-1, 1, 12) + 0.1 * _columns(3)[:, 0]
    chosen = forward(Pool(x, np.ones(12)), y, 4, thrift=0.0)
    for k, best in enumerate(chosen):
        before = chosen[:k]
        errors = [np.inf if i in before else np.sum((y - _fit(x[:, [*before, i]], y)) ** 2) for i in range(12)]
        assert best == int(np.argmin(errors))


def _fit(x: Floats, y: Floats) -> Floats:
    return np.asarray(x @ np.linalg.lstsq(x, y, rcond=None)[0])


def test_cost_makes_a_cheap_column_win() -> None:
    x = _columns(4, width=2)
    y = 1.1 * x[:, 0] + 1.0 * x[:, 1]
    cost = np.array([40.0, 4.0])
    assert forward(Pool(x, cost), y, 1, thrift=0.0) == [0]
    assert forward(Pool(x, cost), y, 1, thrift=1.0) == [1]


def test_starts_from_columns_that_are_in_already() -> None:
    x = _columns(5)
    y = 3 * x[:, 4] - 2 * x[:, 7]
    assert forward(Pool(x, np.ones(12)), y, 5, start=(0, 4)) == [0, 4, 7]


def test_copies_of_a_column_are_not_chosen_twice() -> None:
    x = _columns(6, width=3)
    x = np.concatenate((x, x), axis=1)
    y = x[:, 0] + 0.5 * x[:, 1] + 0.01 * _columns(7)[:, 0]
    chosen = forward(Pool(x, np.ones(6)), y, 6)
    assert len({i % 3 for i in chosen}) == len(chosen)
    assert np.abs(weights(x, y)).max() < 2


def test_weights_are_least_squares() -> None:
    x, y = _columns(8) * np.logspace(-6, 6, 12), _columns(9)[:, 0]
    np.testing.assert_allclose(
        weights(x, y), np.linalg.lstsq(x / np.logspace(-6, 6, 12), y, rcond=None)[0] / np.logspace(-6, 6, 12), rtol=1e-5
    )


def test_errors_of_folds() -> None:
    x, y = _columns(10, width=4), _columns(11)[:, 0]
    folds = [np.arange(200) % 3 == k for k in range(3)]
    wanted = [
        np.mean((LinearRegression(fit_intercept=False).fit(x[~f], y[~f]).predict(x[f]) - y[f]) ** 2) for f in folds
    ]
    np.testing.assert_allclose(fold_errors(x, y, folds), wanted, rtol=1e-6)
