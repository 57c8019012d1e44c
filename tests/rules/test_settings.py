"""Settings to and from JSON-able data and typed text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.base import Rule
from rayl2o.rules.classic import Adam, Classic
from rayl2o.rules.dm import DM
from rayl2o.rules.registry import make
from rayl2o.rules.settings import from_settings, from_text, settings_of


@dataclass(frozen=True)
class _Every(Classic):
    kind: ClassVar[str] = "every"
    number: float = 1.0
    count: int = 2
    flag: bool = False
    word: str = "a"
    widths: tuple[int, ...] = (3,)
    odd: bytes = b""

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("unlucky")


def test_settings_go_through_json_and_back() -> None:
    rules: list[Rule] = [
        Adam(lr=0.5),
        DM(hidden=(3, 4)),
        make("symbolic", {"formula": "-0.1*g", "clamp": 0.5, "gain": 2.0}),
    ]
    for rule in rules:
        again = make(rule.kind, json.loads(json.dumps(settings_of(rule))))
        assert again == rule
        assert settings_of(again) == settings_of(rule)
    assert settings_of(Adam(lr=torch.tensor([[1.0], [2.0]])))["lr"] == [[1.0], [2.0]]


def test_json_values_are_read_by_type() -> None:
    read = from_settings(_Every, {"number": 3, "count": 4, "flag": True, "word": "b", "widths": [5, 6]}, "every")
    assert read == _Every(3.0, 4, True, "b", (5, 6))
    assert isinstance(read.number, float)


def test_typed_values_are_read_by_type() -> None:
    typed = {"number": "1e-3", "count": "4", "flag": "True", "word": "b", "widths": "5x6"}
    assert from_text(_Every, typed, "every") == _Every(1e-3, 4, True, "b", (5, 6))


WRONG: list[tuple[str, Any, str]] = [
    ("number", "1", "must be a number"), ("number", True, "must be a number"), ("number", None, "must be a number"),
    ("count", 1.0, "must be an integer"), ("count", True, "must be an integer"), ("flag", 1, "must be true or false"),
    ("word", 1, "must be text"), ("widths", 3, "must be a list of integers"), ("widths", [1.0], "must be a list of integers"),
    ("odd", "x", "of type"), ("numbre", 1.0, "did you mean 'number'"), ("count", 13, r"refuses its settings \(unlucky\)"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_a_wrong_value_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_settings(_Every, {key: value}, "every")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("number", "fast", "must be a number"), ("count", "1.5", "must be an integer"), ("flag", "1", "must be true or false"),
        ("widths", "5,6", "must be a list of integers"),
    ],
)  # fmt: skip
def test_a_wrong_text_is_named(key: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"setting every.{key} has the wrong type: got '{text}'; it {message}"):
        from_text(_Every, {key: text}, "every")
