from __future__ import annotations

import math

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.ranges import require_exponents, require_one_of, require_within


def test_what_is_in_the_range_passes() -> None:
    require_within("a.b", 1, 1)
    require_within("a.b", 10**9, 1)
    require_within("a.b", 0.5, 0, 1, above=True)
    require_within("a.b", 1.0, 0, 1, above=True)
    require_exponents("quadratic", -3, 0)
    require_one_of("variant", "code", ("paper", "code"))


@pytest.mark.parametrize(
    ("value", "low", "high", "above", "mend"),
    [
        (0, 1, math.inf, False, "use a number of 1 or more"),
        (0.0, 0, math.inf, True, "use a number above 0"),
        (7, 1, 6, False, r"use a number in 1\.\.6"),
        (-1, 0, 2**32 - 1, False, r"use a number in 0\.\.4294967295"),
        (0.0, 0, 1, True, "use a number above 0 and at most 1"),
        (math.nan, 0, math.inf, False, "use a number of 0 or more"),
        (math.inf, 0, math.inf, False, "use a number of 0 or more"),
    ],
)
def test_what_is_not_is_named_with_its_range(value: float, low: float, high: float, above: bool, mend: str) -> None:
    with pytest.raises(UserError, match=rf"setting a\.b is out of range: got .*; {mend}$"):
        require_within("a.b", value, low, high, above=above)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (-31, 0), (0, 31), (math.nan, 0.0), (0.0, math.inf)])
def test_bad_exponents(low: float, high: float) -> None:
    with pytest.raises(UserError, match="eigenvalue range of quadratic is bad"):
        require_exponents("quadratic", low, high)


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="unknown variant: got 'papre'; did you mean 'paper'"):
        require_one_of("variant", "papre", ("paper", "code"))
