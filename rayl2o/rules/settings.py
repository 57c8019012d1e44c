"""Settings of a rule to and from JSON-able data: the fields of its frozen dataclass, checked strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.base import Rule
from rayl2o.rules.scheduled import Scheduled

_TEXT_BOOL = {"true": True, "false": False}


def settings_of(rule: Rule) -> dict[str, Any]:
    """The settings with which :func:`rayl2o.rules.registry.make` makes an equal rule. Tensor settings become nested lists."""
    if rule.kind == "symbolic":
        from rayl2o.rules.symbolic import SymbolicRule

        assert isinstance(rule, SymbolicRule)
        return {"formula": rule.formula, "clamp": rule.clamp, "gain": rule.gain, "name": rule.name}
    if isinstance(rule, Scheduled):
        return {"rule": rule.rule.kind, **settings_of(rule.rule), **rule.schedule.settings()}
    values = {field.name: getattr(rule, field.name) for field in fields(rule)}  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values.items()}


def from_settings(factory: type, settings: Mapping[str, Any], name: str) -> Any:
    """The rule that JSON-able settings describe; absent ones take their defaults.

    Raises:
        UserError: If a setting is unknown, of another type, or refused by the rule.
    """
    return _build(factory, settings, name, _from_json)


def from_text(factory: type, settings: Mapping[str, str], name: str) -> Any:
    """Like :func:`from_settings` for settings that were typed, such as ``{"lr": "0.01"}``; lists are typed ``20x20``."""
    return _build(factory, settings, name, _from_text)


def _build(factory: type, settings: Mapping[str, Any], name: str, read: Callable[[Any, Any, str], Any]) -> Any:
    known = {field.name for field in fields(factory) if field.init}
    for key in settings:
        if key not in known:
            raise unknown_name(f"setting of rule {name!r}", key, known or {"(it has none)"})
    hints = get_type_hints(factory)
    values = {key: read(value, hints[key], f"{name}.{key}") for key, value in settings.items()}
    try:
        return factory(**values)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(
            f"rule {name!r} refuses its settings ({error})", value=dict(settings), mend="change them"
        ) from error


def _from_json(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the field's type: an int passes for a float, a list for a tuple, and nothing else for anything."""
    if _is_float(hint) and (isinstance(value, float) or _is(value, int)):
        return float(value)
    if hint == tuple[int, ...] and isinstance(value, list | tuple) and all(_is(item, int) for item in value):
        return tuple(value)
    if hint in (bool, int, str) and _is(value, hint):
        return value
    raise _wrong(where, value, hint)


def _from_text(text: str, hint: Any, where: str) -> Any:
    try:
        if _is_float(hint):
            return float(text)
        if hint is int:
            return int(text)
        if hint == tuple[int, ...]:
            return tuple(int(part) for part in text.split("x"))
        return _TEXT_BOOL[text.lower()] if hint is bool else text
    except (ValueError, KeyError):
        raise _wrong(where, text, hint) from None


def _is_float(hint: Any) -> bool:
    return hint is float or float in get_args(hint)


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _wrong(where: str, value: Any, hint: Any) -> UserError:
    names = {bool: "true or false", int: "an integer", str: "text", tuple[int, ...]: "a list of integers"}
    expected = "a number" if _is_float(hint) else names.get(hint, f"of type {hint}")
    return UserError(f"setting {where} has the wrong type", value=value, mend=f"it must be {expected}")


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
