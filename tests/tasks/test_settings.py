from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.settings import from_settings, to_settings


@dataclass(frozen=True)
class Toy:
    count: int = 1
    scale: float = 0.5
    name: str = "a"
    on: bool = False
    widths: tuple[int, ...] = (2,)
    extra: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count is negative")
        if self.count > 9:
            raise UserError("count is large", value=self.count, mend="use 9 or less")


@dataclass(frozen=True)
class Bare:
    """No settings at all."""


@dataclass(frozen=True)
class Needy:
    must: int


def test_round_trip_through_json() -> None:
    toy = Toy(3, 2.0, "b", True, (4, 5), {"x": 1})
    settings = json.loads(json.dumps(to_settings(toy)))
    assert settings["widths"] == [4, 5]
    assert from_settings(Toy, settings, "toy") == toy
    assert from_settings(Toy, {}, "toy") == Toy()
    assert from_settings(Bare, to_settings(Bare()), "bare") == Bare()


def test_an_integer_passes_for_a_float() -> None:
    toy = from_settings(Toy, {"scale": 2}, "toy")
    assert isinstance(toy.scale, float)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cuont": 1}, "unknown setting of task 'toy': got 'cuont'; did you mean 'count'"),
        ({"count": 1.0}, "toy.count has the wrong type: got 1.0; it must be an int"),
        ({"count": True}, "it must be an int"),
        ({"count": "1"}, "it must be an int"),
        ({"count": None}, "it must be an int"),
        ({"scale": "x"}, "it must be a float"),
        ({"scale": True}, "it must be a float"),
        ({"name": 3}, "it must be a str"),
        ({"on": 1}, "it must be a bool"),
        ({"widths": 3}, "it must be a list of integers"),
        ({"widths": [3, "4"]}, "it must be a list of integers"),
        ({"widths": [True]}, "it must be a list of integers"),
        ({"count": -1}, "'toy' refuses its settings (count is negative)"),
        ({"count": 10}, "count is large: got 10"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_settings(Toy, settings, "toy")
    assert message in str(caught.value)


def test_no_settings_and_missing_ones() -> None:
    with pytest.raises(UserError, match="it has none"):
        from_settings(Bare, {"x": 1}, "bare")
    with pytest.raises(UserError, match=r"missing .* 'must'"):
        from_settings(Needy, {}, "needy")
