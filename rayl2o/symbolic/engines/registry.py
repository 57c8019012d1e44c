"""Engines by name, and presets of them. A module is imported when its engine is asked for: some need missing libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

from rayl2o.errors import UserError, unknown_name
from rayl2o.symbolic.engines.base import Engine
from rayl2o.symbolic.engines.preset import EnginePreset, is_file, read_preset
from rayl2o.symbolic.engines.presets import presets

_HERE = "rayl2o.symbolic.engines"
DEFAULT = "evolved"


@dataclass(frozen=True)
class EngineInfo:
    """What is known of an engine without importing it.

    Attributes:
        module, factory: Where its class is.
        summary: One line.
        needs: What must be installed; empty if nothing. Its module then has ``available() -> bool``.
        discovers: Whether it searches for a form; a template's fit is never reported as discovery.
        steps: Its setting that says how long it searches; empty if it does not search step by step.
    """

    module: str
    factory: str
    summary: str
    needs: str = ""
    discovers: bool = True
    steps: str = ""


ENGINES: Mapping[str, EngineInfo] = MappingProxyType(
    {
        "evolved": EngineInfo(
            f"{_HERE}.evolved", "Evolved", "evolved terms, sparse linear head, one total quotient", steps="generations"
        ),
        "linear": EngineInfo(f"{_HERE}.linear", "Linear", "sparse linear sums and ridge: what others must beat"),
        "template": EngineInfo(
            f"{_HERE}.template", "Template", "FIR, tanh-FIR (S eq. 6), ratio: forms known beforehand", discovers=False
        ),
        "operon": EngineInfo(
            f"{_HERE}.operon", "Operon", "genetic programming by pyoperon", needs="pip install 'rayl2o[operon]'",
            steps="generations",
        ),
        "pysr": EngineInfo(
            f"{_HERE}.pysr", "PySR", "PySR in a process of its own", needs="Julia: https://julialang.org/install",
            steps="iterations",
        ),
    }
)  # fmt: skip


def resolve(name: str) -> EnginePreset:
    """What a name means: an engine (as a preset that sets nothing), a shipped preset, or the path of a preset's YAML file.

    Raises:
        UserError: If it means nothing, the file cannot be read, or its engine is unknown.
    """
    if name in ENGINES:
        return EnginePreset(name)
    if not is_file(name) and name not in presets():
        raise unknown_name("engine", name, (*ENGINES, *presets()))
    found = read_preset(name)
    if found.engine not in ENGINES:
        raise unknown_name(f"engine of the preset {name}", found.engine, ENGINES)
    return found


def engine(name: str, settings: Mapping[str, Any] | None = None) -> Engine:
    """The engine with these settings; lists stand for tuples, absent settings take those of the preset, or their defaults.

    Args:
        name: As :func:`resolve` takes it.
        settings: Fields of the engine's class.

    Raises:
        UserError: If there is no such engine, it cannot run here, or a setting is unknown or refused.
    """
    preset = resolve(name)
    _require(preset.engine)
    factory = _factory(preset.engine)
    known = {field.name for field in fields(factory) if field.init}
    given = {**preset.settings, **(settings or {})}
    values = {}
    for key, value in given.items():
        if key not in known:
            raise unknown_name(f"setting of engine {preset.engine!r}", key, known)
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cast(Engine, factory(**values))
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        what = f"engine {preset.engine!r} refuses its settings ({error})"
        raise UserError(what, value=given, mend="change them") from error


def is_available(name: str) -> bool:
    """Whether the engine can run here; asks its module, which may look for a library or a program.

    Raises:
        UserError: If there is no such engine or preset.
    """
    info = ENGINES[resolve(name).engine]
    if not info.needs:
        return True
    try:
        return bool(import_module(info.module).available())
    except ImportError:
        return False


def has_setting(name: str, setting: str) -> bool:
    """Whether an engine takes a setting. Raises UserError as :func:`engine`."""
    kind = resolve(name).engine
    _require(kind)
    return setting in {field.name for field in fields(_factory(kind)) if field.init}


def _require(kind: str) -> None:
    if not is_available(kind):
        raise UserError("an engine that cannot run here", value=kind, mend=f"it needs: {ENGINES[kind].needs}")


def _factory(name: str) -> type:
    found: type = getattr(import_module(ENGINES[name].module), ENGINES[name].factory)
    return found
