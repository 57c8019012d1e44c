"""An engine as text: ``evolved``, with settings ``evolved:generations=20,islands=2``, a preset, or the file of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.symbolic.engines.base import Budget


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


def budget_of(engine: str, cpu_s: float | None, nodes: int | None, default: Budget) -> Budget:
    """What a search may spend: the options, else what the preset says, else the default.

    Args:
        engine: Name of an engine or a preset, without settings.
        cpu_s, nodes: As given on the command line; None where they were not.
        default: Of the command.

    Raises:
        UserError: If there is no such engine or preset, or an option is not positive.
    """
    from dataclasses import replace

    from rayl2o.symbolic.engines.registry import resolve

    budget = resolve(engine).budget or default
    if cpu_s is not None:
        budget = replace(budget, cpu_s=cpu_s)
    if nodes is not None:
        budget = replace(budget, max_complexity=nodes)
    if not budget.cpu_s > 0 or budget.max_complexity < 1:
        value = f"{budget.cpu_s:g}, {budget.max_complexity}"
        raise UserError("--cpu-s and --nodes must be positive", value=value, mend="e.g. --cpu-s 30 --nodes 60")
    return budget
