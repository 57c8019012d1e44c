"""Reads the parts of a picture back from JSON: each field is checked for what it must be."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rayl2o.errors import UserError
from rayl2o.rules.operands import plain

_MEND = "distil again"


def fields(data: object, what: str) -> Mapping[str, Any]:
    """The fields of a JSON object.

    Raises:
        UserError: If it is none.
    """
    if not isinstance(data, dict):
        raise UserError(f"{what} must be a JSON object", value=plain(data), mend=_MEND)
    return data


def text(data: Mapping[str, Any], name: str) -> str:
    """A field of text.

    Raises:
        UserError: If it is missing or something else.
    """
    if not isinstance(data.get(name), str):
        raise UserError(f"{name} of a picture must be text", value=plain(data.get(name)), mend=_MEND)
    return str(data[name])


def whole(data: Mapping[str, Any], name: str) -> int:
    """A field that counts.

    Raises:
        UserError: If it is missing, negative or something else.
    """
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{name} of a picture must be a whole number", value=plain(value), mend=_MEND)
    return value


def number(data: Mapping[str, Any], name: str) -> float:
    """A number; null stands for one that is not finite.

    Raises:
        UserError: If it is missing or something else.
    """
    if name not in data:
        raise UserError(f"{name} of a picture is missing", value=sorted(data), mend=_MEND)
    return _number(data[name], name)


def numbers(data: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """A list of numbers.

    Raises:
        UserError: If it is missing or something else.
    """
    values = data.get(name)
    if not isinstance(values, list | tuple):
        raise UserError(f"{name} of a picture must be a list", value=plain(values), mend=_MEND)
    return tuple(_number(value, name) for value in values)


def _number(value: object, name: str) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > sys.float_info.max:
        raise UserError(f"{name} of a picture must be a finite number", value=plain(value), mend=_MEND)
    return float(value)
