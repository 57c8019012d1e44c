"""An engine as text: ``evolved``, or with settings ``evolved:generations=20,islands=2``."""

from __future__ import annotations

from typing import Any

from rayl2o.errors import UserError


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Name and settings; values are plain YAML, lists with ``+`` between (``unary=tanh+sign``).

    Raises:
        UserError: If a setting is malformed or given twice.
    """
    from rayl2o.config import plain_yaml

    name, colon, rest = (part.strip() for part in text.partition(":"))
    settings: dict[str, Any] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise UserError(
                "cannot read a setting of an engine", value=text, mend="write it like evolved:generations=20,islands=2"
            )
        if key in settings:
            raise UserError(f"setting {key!r} is given twice", value=text, mend="give it once")
        try:
            parts = [plain_yaml(piece) for piece in value.split("+")]
        except ValueError as error:
            raise UserError(f"the value of {key!r} is not plain ({error})", value=value, mend="e.g. 20") from error
        settings[key] = parts if len(parts) > 1 else parts[0]
    return name, settings
