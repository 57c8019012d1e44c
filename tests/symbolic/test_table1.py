"""The five targets against their definitions, and the rows against the runs they come from."""

from __future__ import annotations

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.symbolic.table1 import LAGS, ROWS, TARGETS, _gradients, table1

G = np.random.default_rng(0).standard_normal((40, 3))


def test_targets_on_white_gradients() -> None:
    now = 30
    np.testing.assert_allclose(TARGETS["a"](G)[now], -0.01 * G[now])
    np.testing.assert_allclose(TARGETS["b"](G)[now], sum((1 - 0.1 * i) * G[now - i] for i in range(11)))
    np.testing.assert_allclose(TARGETS["c"](G)[now], G[now] ** 2 + G[now - 1] + 2 * G[now - 2] + np.exp(G[now - 4]))
    np.testing.assert_allclose(TARGETS["d"](G)[now], sum(0.6**i * G[now - i] for i in range(now + 1)))


def test_adam_is_bias_corrected_over_the_whole_history() -> None:
    m, v = np.zeros(3), np.zeros(3)
    for step, g in enumerate(G, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.9 * v + 0.1 * g * g
        wanted = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.9**step)) + 1e-8)
        np.testing.assert_allclose(TARGETS["e"](G)[step - 1], wanted)
    assert np.abs(TARGETS["e"](np.zeros((5, 2)))).max() == 0


@pytest.mark.parametrize("late", [False, True])
def test_rows(late: bool) -> None:
    train, val, test = table1("b", 41, late)
    for data in (train, val, test):
        assert data.names == tuple(f"g{i}" for i in range(LAGS))
        assert data.x.shape == (ROWS, LAGS)
        assert data.group is not None
        assert np.isfinite(data.x).all()
    assert train.y.std() == pytest.approx(1.0)
    np.testing.assert_allclose(train.x.std(axis=0), 1.0, atol=0.25)
    # b is a sum of the columns, in one unit in all three runs.
    weights = np.linalg.lstsq(train.x, train.y, rcond=None)[0]
    np.testing.assert_allclose(weights[:11] / weights[0], 1 - 0.1 * np.arange(11), atol=1e-8)
    np.testing.assert_allclose(test.x @ weights, test.y, atol=1e-8)
    assert not np.array_equal(val.x, test.x)
    assert bool(np.corrcoef(train.x[:, 0], train.x[:, 1])[0, 1] < 0.2) == late  # late gradients are nearly white


def test_seeds_name_the_runs() -> None:
    first, again, other = (_gradients(seed, "collect", 30) for seed in (42, 42, 43))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, _gradients(42, "validate", 30))


def test_mistakes() -> None:
    with pytest.raises(UserError, match="unknown target of Table 1"):
        table1("f", 0)
    with pytest.raises(UserError, match="not negative"):
        table1("a", -1)
