"""An engine with settings, what it may spend and what it is given: a YAML file, shipped or the outcome of a study."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rayl2o.errors import UserError, unknown_name
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.presets import preset_text, presets

SUFFIXES = (".yaml", ".yml")
OPERANDS = ("mode", "signals", "betas", "lags")
"""What a preset may say of the operands, by the names that a distillation takes."""
_KEYS = ("engine", "settings", "budget", "operands", "origin")
_SIZE_LIMIT = 1 << 16
_DEEPEST = 32


@dataclass(frozen=True)
class EnginePreset:
    """Settings under a name.

    Attributes:
        engine: Name of the engine.
        settings: Of the engine; absent ones take their defaults.
        budget: What it was meant to spend; None if the preset does not say.
        operands: The operands it was found with (:data:`OPERANDS`); empty for the default ones of the rule.
        origin: Where it comes from, for people: plain values.
    """

    engine: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    operands: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


def operand_settings(operands: Mapping[str, Any]) -> dict[str, Any]:
    """What a preset says of the operands, as a distillation's settings: lists become tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in operands.items()}


def is_file(name: str) -> bool:
    """Whether a name means a file of the user's."""
    return name.endswith(SUFFIXES)


def read_preset(name: str) -> EnginePreset:
    """A shipped preset by name, or a file by its path (which ends in ``.yaml``).

    Raises:
        UserError: If there is none, or it is not plain YAML of this form. That engine and settings fit is checked when the
            engine is made.
    """
    if not is_file(name):
        if name not in presets():
            raise unknown_name("preset of an engine", name, presets())
        return parse_preset(preset_text(name), name)
    path = Path(name)
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise UserError(f"the preset is over {_SIZE_LIMIT} bytes", value=name, mend="a preset is a few lines")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError("the preset is not UTF-8 text", value=name, mend="save it as text") from error
    except OSError as error:
        mend = "give the file that 'rayl2o tune' wrote, or a name of 'rayl2o list engines'"
        raise UserError(f"the preset cannot be read ({error.strerror})", value=name, mend=mend) from error
    return parse_preset(text, name)


def parse_preset(text: str, source: str) -> EnginePreset:
    """A preset from YAML text; ``source`` names it in messages.

    Raises:
        UserError: As :func:`read_preset`.
    """
    try:
        if _depth(text) > _DEEPEST:  # the parser takes cubic time to find out
            raise ValueError("nested too deeply")
        # An alias names a value again: a small file could then be written out as a huge one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ValueError("aliases are not allowed, write the value out")
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise UserError(f"{source} is not plain YAML", value=what, mend="mend that line") from error
    fields = _section(data, source, "the preset", _KEYS)
    if not isinstance(fields.get("engine"), str):
        raise UserError(f"{source} names no engine", value=fields.get("engine"), mend="write e.g. engine: evolved")
    sections = {key: _section(fields.get(key, {}), source, key) for key in ("settings", "origin")}
    operands = _section(fields.get("operands", {}), source, "operands", OPERANDS)
    budget = _budget(fields["budget"], source) if "budget" in fields else None
    return EnginePreset(fields["engine"], sections["settings"], budget, operands, sections["origin"])


def dump_preset(preset: EnginePreset, summary: str) -> str:
    """YAML text that :func:`parse_preset` reads back; ``summary`` becomes its first comment line."""
    data = {
        "engine": preset.engine,
        "settings": _plain(preset.settings),
        **({} if preset.budget is None else {"budget": asdict(preset.budget)}),
        **({"operands": _plain(preset.operands)} if preset.operands else {}),
        **({"origin": _plain(preset.origin)} if preset.origin else {}),
    }
    return f"# {summary}\n{yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110)}"


def _depth(text: str) -> int:
    """How deep brackets stand in each other, quoted ones counted too."""
    return max(itertools.accumulate(((c in "[{") - (c in "]}") for c in text), initial=0))


def _section(data: Any, source: str, what: str, known: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(
            f"{what} in {source} must be a mapping of names", value=data, mend="write lines such as 'name: 1'"
        )
    for key in data:
        if known is not None and key not in known:
            raise unknown_name(f"key of {what} in {source}", key, known)
    return data


def _budget(data: Any, source: str) -> Budget:
    fields = _section(data, source, "budget", ("cpu_s", "max_complexity"))
    budget = Budget(**fields)
    numbers = isinstance(budget.cpu_s, int | float) and type(budget.max_complexity) is int
    if not numbers or not 0 < budget.cpu_s < float("inf") or budget.max_complexity < 1:
        raise UserError(f"bad budget in {source}", value=data, mend="write budget: {cpu_s: 30, max_complexity: 60}")
    return budget


def _plain(value: Any) -> Any:
    """Tuples to lists, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
