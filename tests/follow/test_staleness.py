from __future__ import annotations

import pytest

from rayl2o.follow.staleness import Staleness, quantiles


@pytest.mark.parametrize(
    ("counts", "want"),
    [
        ({0: 1}, (0, 0, 0)),
        ({0: 1, 1: 1}, (0, 1, 1)),
        ({0: 1, 1: 2}, (1, 1, 1)),
        ({1: 99, 7: 1}, (1, 1, 7)),
        ({7: 2, 1: 98}, (1, 7, 7)),
        ({0: 0, 2: 5, 9: 0}, (2, 2, 2)),
    ],
)
def test_quantiles_are_values_that_occurred(counts: dict[int, int], want: tuple[int, int, int]) -> None:
    assert quantiles(counts) == Staleness(*want)


@pytest.mark.parametrize("counts", [{}, {0: 0}])
def test_nothing_counted_has_no_quantiles(counts: dict[int, int]) -> None:
    assert quantiles(counts) is None


def test_json() -> None:
    assert Staleness(1, 2, 3).to_json() == {"p50": 1, "p99": 2, "max": 3}
