"""Shipped formulas, one rule file with a model card each: those that paper S prints, and some that our own pipeline found."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from rayl2o.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rayl2o.rules.symbolic import SymbolicRule

CARD_FIELDS = (
    "summary", "source", "quote", "uncertain", "found_on", "task", "scale", "known_failures", "measured", "guards", "digest"
)  # fmt: skip
"""What the card of a shipped formula says: where it stands, the text as it was read, what of it is a guess, what it was found on
(``task``: its name where it is one of ours), the size of gradients that it assumes, what is known to fail, how it did in closed
loop, the verdict of the guards, and the hash of what it does."""
SETTINGS = ("gain", "clamp")
_SUFFIX = ".json"


def named_rules() -> tuple[str, ...]:
    """The names, sorted."""
    names = (item.name for item in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def card_of(name: str) -> Mapping[str, Any]:
    """Its model card.

    Raises:
        UserError: As :func:`read_named`.
    """
    return read_named(name).card


def read_named(name: str) -> SymbolicRule:
    """The rule of a name, without any warning: to look at.

    Raises:
        UserError: If there is no such rule, or its file is not the one that was shipped.
    """
    from rayl2o.rules.symbolic import SymbolicRule  # here, so that listing names loads nothing

    if name not in named_rules():
        raise unknown_name("named rule", name, named_rules())
    text = (resources.files(__name__) / f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    rule = SymbolicRule.from_json(text)
    if rule.digest != rule.card.get("digest"):
        raise UserError(f"the file of {name} was changed", value=rule.digest, mend="install the package again")
    return rule


def named_rule(text: str) -> SymbolicRule:
    """The rule of text such as ``symbolic-l2o-eq7a`` or ``symbolic-l2o-eq7a:gain=0.01,clamp=0.1``, to run.

    Logs a warning if the guards refused it: such a rule is shipped as it is printed.

    Raises:
        UserError: If there is no such rule, or a setting is malformed, repeated, unknown or out of range.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    rule = read_named(name)
    settings = _settings(rest, text) if colon else {}
    rule = replace(rule, gain=settings.get("gain", rule.gain), clamp=settings.get("clamp", rule.clamp))
    if (warning := warning_of(rule)) is not None:
        logging.getLogger(__name__).warning(warning)
    return rule


def is_named(text: str) -> bool:
    """Whether text means a named rule, with or without settings."""
    return text.partition(":")[0].strip() in named_rules()


def warning_of(rule: SymbolicRule) -> str | None:
    """What must be said before the rule is run; None if the guards found nothing."""
    refused = dict(rule.card.get("guards", {})).get("refused", [])
    if not refused:
        return None
    return f"{rule.name}: the guards refuse this formula, which is shipped as printed: {'; '.join(refused)}"


def _settings(text: str, whole: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in SETTINGS:
            raise unknown_name("setting of a named rule", key, SETTINGS)
        if key in found:
            raise UserError(f"setting {key!r} is given twice", value=whole, mend="give it once")
        try:
            found[key] = float(value)
        except ValueError:
            raise UserError(f"setting {key!r} is a number", value=value, mend="write it like gain=0.01") from None
    return found
