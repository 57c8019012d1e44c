"""Settings of a family to and from JSON-able data: the fields of its frozen dataclass, checked strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from rayl2o.errors import UserError, unknown_name


def to_settings(family: Any) -> dict[str, Any]:
    """Every field of a family, defaults included, with tuples as lists."""
    values = {f.name: getattr(family, f.name) for f in fields(family)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_settings(factory: type, settings: Mapping[str, Any], owner: str) -> Any:
    """The family that ``settings`` describe; inverse of :func:`to_settings`. Absent settings take their defaults.

    Fields of type bool, int, float, str and ``tuple[int, ...]`` are checked here, others by the factory itself.

    Args:
        factory: A frozen dataclass.
        settings: Values by field name.
        owner: Name of the task or family, for messages.

    Raises:
        UserError: If a setting is unknown, of another type, missing, or refused by the factory.
    """
    known = {f.name for f in fields(factory) if f.init}
    for name in settings:
        if name not in known:
            raise unknown_name(f"setting of task {owner!r}", name, known or {"(it has none)"})
    hints = get_type_hints(factory)
    values = {name: _checked(value, hints[name], f"{owner}.{name}") for name, value in settings.items()}
    try:
        return factory(**values)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(
            f"task {owner!r} refuses its settings ({error})", value=dict(settings), mend="change them"
        ) from error


def _checked(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the field's type: an int passes for a float, a list for a tuple, and nothing else for anything."""
    if get_origin(hint) is tuple and get_args(hint) == (int, ...):
        if isinstance(value, list | tuple) and all(_is(item, int) for item in value):
            return tuple(value)
        raise _wrong(where, value, "a list of integers")
    if hint is float and (_is(value, int) or isinstance(value, float)):
        return float(value)
    if hint in (bool, int, float, str) and not _is(value, hint):
        article = "an" if hint is int else "a"
        raise _wrong(where, value, f"{article} {hint.__name__}")
    return value


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _wrong(where: str, value: Any, expected: str) -> UserError:
    return UserError(f"setting {where} has the wrong type", value=value, mend=f"it must be {expected}")
