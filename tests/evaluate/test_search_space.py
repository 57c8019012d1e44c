"""Ranges: what is drawn, where an edge is, how a range grows."""

from __future__ import annotations

import numpy as np
import pytest

from rayl2o.evaluate.search_space import SPACES, Range

LR = Range(1e-4, 1.0)
BETA = Range(1e-3, 1.0, complement=True, ceiling=1.0)


def test_ends_and_middle_are_logarithmic() -> None:
    np.testing.assert_allclose(LR.at(np.array([0.0, 0.5, 1.0])), [1e-4, 1e-2, 1.0])
    np.testing.assert_allclose(BETA.at(np.array([0.0, 2 / 3, 1.0])), [0.999, 0.9, 0.0])


def test_what_is_tried_is_what_is_printed() -> None:
    for value in [*LR.at(np.linspace(0, 1, 50)), *(1 - BETA.at(np.linspace(0, 1, 50)))]:
        assert float(f"{value:.3g}") == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("r", [LR, BETA], ids=["lr", "beta"])
def test_fraction_inverts_at(r: Range) -> None:
    fractions = np.linspace(0, 1, 9)
    found = [r.fraction(value) for value in r.at(fractions)]
    np.testing.assert_allclose(found, fractions, atol=1e-3)  # three digits


def test_inside_there_is_no_edge() -> None:
    for fraction in (0.06, 0.5, 0.94):
        assert LR.beyond(float(LR.at(np.array([fraction]))[0]), 0.05) is None


def test_an_edge_gives_a_decade_more_and_a_window_around_it() -> None:
    lower = LR.beyond(1.1e-4, 0.05)
    upper = LR.beyond(0.95, 0.05)
    assert lower is not None
    assert upper is not None
    assert (lower[0].low, lower[0].high) == pytest.approx((1e-5, 1.0))
    assert (lower[1].low, lower[1].high) == pytest.approx((1e-5, 1e-3))
    assert (upper[0].low, upper[0].high) == pytest.approx((1e-4, 10.0))
    assert (upper[1].low, upper[1].high) == pytest.approx((0.1, 10.0))


def test_a_natural_limit_is_no_edge() -> None:
    assert BETA.beyond(0.0, 0.05) is None
    longer = BETA.beyond(0.9989, 0.05)
    assert longer is not None
    assert longer[0].low == pytest.approx(1e-4)
    assert longer[0].complement


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_bad_ranges_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 < low < high"):
        Range(*ends)
    with pytest.raises(ValueError, match="ceiling"):
        Range(0.1, 2.0, ceiling=1.0)


def test_every_space_makes_rules_of_its_kind_over_all_of_its_range() -> None:
    assert set(SPACES) == {"adam", "momentum", "rmsprop"}
    for kind, space in SPACES.items():
        for fraction in (0.0, 0.3, 1.0):
            values = {name: float(r.at(np.array([fraction]))[0]) for name, r in space.ranges.items()}
            rule = space.make(**values)
            assert rule.kind == kind
            assert {name: getattr(rule, name) for name in values} == values
