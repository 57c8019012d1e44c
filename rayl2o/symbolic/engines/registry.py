"""Engines by name. A module is imported when its engine is asked for: some need libraries that are not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

from rayl2o.errors import UserError, unknown_name
from rayl2o.symbolic.engines.base import Engine

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
    """

    module: str
    factory: str
    summary: str
    needs: str = ""
    discovers: bool = True


ENGINES: Mapping[str, EngineInfo] = MappingProxyType(
    {
        "evolved": EngineInfo(f"{_HERE}.evolved", "Evolved", "evolved terms, sparse linear head, one total quotient"),
        "linear": EngineInfo(f"{_HERE}.linear", "Linear", "sparse linear sums and ridge: what others must beat"),
        "template": EngineInfo(
            f"{_HERE}.template", "Template", "FIR, tanh-FIR (S eq. 6), ratio: forms known beforehand", discovers=False
        ),
        "operon": EngineInfo(
            f"{_HERE}.operon", "Operon", "genetic programming by pyoperon", needs="pip install 'rayl2o[operon]'"
        ),
        "pysr": EngineInfo(
            f"{_HERE}.pysr", "PySR", "PySR in a process of its own", needs="Julia: https://julialang.org/install"
        ),
    }
)


def engine(name: str, settings: Mapping[str, Any] | None = None) -> Engine:
    """The engine with these settings; lists stand for tuples, absent settings take their defaults.

    Raises:
        UserError: If there is no such engine, it cannot run here, or a setting is unknown or refused.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if not is_available(name):
        raise UserError("an engine that cannot run here", value=name, mend=f"it needs: {ENGINES[name].needs}")
    factory = _factory(name)
    known = {field.name for field in fields(factory) if field.init}
    values = {}
    for key, value in (settings or {}).items():
        if key not in known:
            raise unknown_name(f"setting of engine {name!r}", key, known)
        values[key] = tuple(value) if isinstance(value, list) else value
    try:
        return cast(Engine, factory(**values))
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        what = f"engine {name!r} refuses its settings ({error})"
        raise UserError(what, value=dict(settings or {}), mend="change them") from error


def is_available(name: str) -> bool:
    """Whether the engine can run here; asks its module, which may look for a library or a program.

    Raises:
        UserError: If there is no such engine.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if not ENGINES[name].needs:
        return True
    try:
        return bool(import_module(ENGINES[name].module).available())
    except ImportError:
        return False


def has_setting(name: str, setting: str) -> bool:
    """Whether an engine takes a setting. Raises UserError as :func:`engine`."""
    if not is_available(name):
        raise UserError("an engine that cannot run here", value=name, mend=f"it needs: {ENGINES[name].needs}")
    return setting in {field.name for field in fields(_factory(name)) if field.init}


def _factory(name: str) -> type:
    found: type = getattr(import_module(ENGINES[name].module), ENGINES[name].factory)
    return found
