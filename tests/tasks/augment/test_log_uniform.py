from __future__ import annotations

import math

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.seeds import generator
from rayl2o.tasks.augment.log_uniform import log_uniform, require_factors


def test_logarithms_are_uniform() -> None:
    logs = log_uniform(0.01, 10.0, 4000, generator("any")).log10()
    assert logs.dtype == torch.float64
    assert -2 <= logs.min() < -1.99
    assert 0.99 < logs.max() <= 1
    assert abs(logs.mean() + 0.5) < 0.05
    torch.testing.assert_close(log_uniform(3.0, 3.0, 2, generator("any")), torch.tensor([3.0, 3.0]).double())


@pytest.mark.parametrize("bad", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0), (-1.0, 1.0)])
def test_bad_ranges(bad: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="range of the thing is bad"):
        require_factors("thing", *bad)
