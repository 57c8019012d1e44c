"""An error is one readable line, whatever the value."""

from __future__ import annotations

import copy

import pytest

from rayl2o.errors import UserError, shorten, unknown_name


def test_says_what_value_and_mend_on_one_line() -> None:
    error = UserError("the number is\nodd", value=3, mend="give\nan even one")
    assert str(error) == "the number is odd: got 3; give an even one"


def _nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000, _nested(50_000), 10**10_000, list(range(10_000))],
    ids=["text", "nested", "integer", "list"],
)
def test_any_value_is_shortened(value: object) -> None:
    assert len(shorten(value)) < 220
    assert "\n" not in str(UserError("what", value=value, mend="mend"))


def test_near_miss_or_all_names() -> None:
    assert "did you mean 'adam'?" in str(unknown_name("rule", "adm", ["adam", "sgd"]))
    assert "known: adam, sgd" in str(unknown_name("rule", "quite-else", ["sgd", "adam"]))


def test_crosses_a_process_with_its_parts() -> None:
    error = UserError("the number is odd", value=[3, "x"], mend="give an even one")
    again = copy.copy(error)  # the protocol that process pools use
    assert str(again) == str(error)
    assert (again.what, repr(again.value), again.mend) == (error.what, "[3, 'x']", error.mend)
