from __future__ import annotations

import numpy as np
import pytest

from rayl2o.unroll.loss_spread import loss_spread


def test_spread_is_quartiles_of_the_mean_of_the_last_twenty_losses() -> None:
    loss = np.random.default_rng(1).lognormal(size=(9, 400))
    x, low, middle, high = loss_spread(loss)
    assert (x[0], x[-1]) == (1, 400)
    assert len(x) <= 160
    assert (np.diff(x) > 0).all()
    for i, step in enumerate(x.astype(int)):
        means = loss[:, max(0, step - 20) : step].mean(axis=1)
        assert (low[i], middle[i], high[i]) == pytest.approx(np.quantile(means, [0.25, 0.5, 0.75]))


def test_fewer_points_where_fewer_are_wanted() -> None:
    x, *_ = loss_spread(np.ones((2, 1000)), 10)
    assert len(x) == 10
    assert (x[0], x[-1]) == (1, 1000)
