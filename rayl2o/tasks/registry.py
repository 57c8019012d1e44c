"""Families by name, named tasks, and plugins from the entry point group ``rayl2o.tasks``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.plugins import Group, Plugin, load, plugins
from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.catalogue import FAMILIES, NAMED
from rayl2o.tasks.data import DATA
from rayl2o.tasks.laws.admission import first_breach
from rayl2o.tasks.laws.check import refusal
from rayl2o.tasks.laws.law import Breach
from rayl2o.tasks.named import PAPERS, NamedTask
from rayl2o.tasks.settings import from_settings

EMBEDDED, TRUE_SIZE = "digits", "mnist"
"""What a task of paper T uses where no data are at hand, and what the paper used."""
_RANKS = {paper: rank for rank, paper in enumerate((*PAPERS, ""))}
GROUP = Group("rayl2o.tasks", noun="task", key="family", members=(), built_in=frozenset({*FAMILIES, *NAMED}))
"""Families of other distributions; what :func:`task` makes of one must be a :class:`TaskFamily`."""


@dataclass(frozen=True)
class TaskInfo:
    """What ``rayl2o list tasks`` shows of a task.

    Attributes:
        name: As :func:`task` takes it.
        source: ``built-in`` or the distribution of the plugin.
        summary: One line.
        params: D, on ``data``. None if it is drawn, or the plugin does not say.
        params_by_data: D by data set, empty where the task has no ``data`` setting.
        settings: Names of the settings that :func:`task` takes.
        paper, twin_of: As of a :class:`~rayl2o.tasks.named.NamedTask`; a twin's paper is that of its whole.
        data: Its data set: the default, or MNIST where the embedded digits stand for it. Empty without data.
        error: Why a plugin cannot be used.
    """

    name: str
    source: str
    summary: str
    params: int | None
    params_by_data: Mapping[str, int]
    settings: tuple[str, ...] = ()
    paper: str = ""
    twin_of: str = ""
    data: str = ""
    error: str | None = None


def task(name: str, **settings: Any) -> TaskFamily:
    """The family of a named task, or a family by its own name, with these settings.

    Raises:
        UserError: If there is no such task, its plugin cannot be used or breaks a law of :mod:`rayl2o.tasks.laws`, or a setting
            is unknown, fixed by the task, of the wrong type or out of range.
    """
    if name not in NAMED:
        return _lawful(_make(_factory(name, "task"), settings, name), name)
    named = NAMED[name]
    for key, value in settings.items():
        if key in named.fixed:
            mend = f"use task {named.family!r} to choose it"
            raise UserError(f"setting {key!r} is fixed by task {name!r}", value=value, mend=mend)
        if key not in _settings(name):
            raise unknown_name(f"setting of task {name!r}", key, _settings(name))
    return _make(FAMILIES[named.family], {**named.defaults, **named.fixed, **settings}, name)


def family_of(spec: TaskSpec) -> TaskFamily:
    """The family that drew a spec: equal to the original, with the same settings.

    Raises:
        UserError: If the family is unknown, its plugin cannot be used, or it refuses the settings.
    """
    return _make(_factory(spec.family, "task family"), spec.settings, spec.family)


def build(
    specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> TaskBatch:
    """K instances from their specs alone; all of one family with one set of settings.

    Raises:
        UserError: If they are not, or as :func:`family_of`, or if the data cannot be read.
        ValueError: If there are no specs.
    """
    if not specs:
        raise ValueError("a build needs at least one spec")
    return family_of(specs[0]).build(specs, device, dtype)


def tasks() -> list[TaskInfo]:
    """Every family and named task, built-in ones first: by paper, our own last, a twin behind its whole. Then plugins, unusable
    ones with their error. Reads no data of built-in tasks; plugins are tried by the laws.
    """
    found = [_built_in(name) for name in dict.fromkeys((*NAMED, *FAMILIES))]
    place = {info.name: i for i, info in enumerate(found)}
    found.sort(key=lambda info: (_RANKS[info.paper], place[info.twin_of or info.name], place[info.name]))
    return found + [_from_plugin(plugin) for plugin in plugins(GROUP)]


def settings_of(name: str) -> tuple[str, ...]:
    """Names of the settings that :func:`task` takes for a task or family; nothing is built.

    Raises:
        UserError: If there is no such task, or its plugin cannot be used.
    """
    if name in NAMED or name in FAMILIES:
        return _settings(name)
    return tuple(f.name for f in fields(_factory(name, "task")))


def _factory(name: str, kind: str) -> type:
    """The class behind a family's name."""
    if name in FAMILIES:
        return FAMILIES[name]
    return load(GROUP, name, kind, GROUP.built_in if kind == "task" else FAMILIES)


def _make(factory: type, settings: Mapping[str, Any], name: str) -> TaskFamily:
    compose = getattr(factory, "compose", None)  # of families that are made of others
    if compose is not None:
        return compose(settings, lambda inner, own: task(inner, **own), build)  # type: ignore[no-any-return]
    family = from_settings(factory, settings, name)
    if not isinstance(family, TaskFamily):
        mend = "its class must have 'family', 'sample' and 'build'"
        raise UserError(f"task {name!r} comes from a plugin that is no task family", value=factory.__name__, mend=mend)
    return family


def _lawful(family: TaskFamily, name: str) -> TaskFamily:
    """The family, unless it is of a plugin that breaks a law; specs that it draws need no further trial."""
    if name in FAMILIES:
        return family
    breach = first_breach(family, family_of)
    if breach is not None:
        (plugin,) = (plugin for plugin in plugins(GROUP) if plugin.name == name)
        raise _refusal(plugin, breach)
    return family


def _refusal(plugin: Plugin, breach: Breach) -> UserError:
    return refusal(f"task {plugin.name!r} of the plugin {plugin.distribution!r}", breach)


def _settings(name: str) -> tuple[str, ...]:
    """Names of the settings that a built-in task takes."""
    named = NAMED.get(name, NamedTask(name, {}, ""))
    factory = FAMILIES[named.family]
    names = getattr(factory, "setting_names", None) or [f.name for f in fields(factory)]
    return tuple(name for name in names if name not in named.fixed)


def _built_in(name: str) -> TaskInfo:
    settings = _settings(name)
    named = NAMED.get(name) or NamedTask(name, {}, _summary(FAMILIES[name]))
    composed = hasattr(FAMILIES[named.family], "compose") and not named.fixed
    data = "" if composed else str(getattr(task(name), "data", ""))
    sizes = _sizes(name) if "data" in settings else {}
    if data == EMBEDDED and TRUE_SIZE in sizes and not named.twin_of:
        data = TRUE_SIZE
    params = sizes[data] if data in sizes else None if composed else _params(task(name))
    paper = NAMED[named.twin_of].paper if named.twin_of else named.paper
    return TaskInfo(name, "built-in", named.summary, params, sizes, settings, paper, named.twin_of, data)


def _sizes(name: str) -> dict[str, int]:
    """D by data set, of those that the task can take."""
    found = {}
    for data in DATA:
        with suppress(UserError):
            found[data] = _params(task(name, data=data))
    return {data: size for data, size in found.items() if size is not None}


def _from_plugin(plugin: Plugin) -> TaskInfo:
    params, error = None, None
    try:
        factory = plugin.load()
        family = factory()
        params = _params(family)
    except UserError as refused:
        return TaskInfo(plugin.name, plugin.distribution, "", None, {}, error=str(refused))
    except Exception:  # a plugin need not have defaults, nor a layout that is known before a build
        family = None
    if isinstance(family, TaskFamily):
        with suppress(UserError):  # its data are not here: it may be used where they are
            breach = first_breach(family, family_of)
            error = None if breach is None else str(_refusal(plugin, breach))
    settings = tuple(f.name for f in fields(factory))
    return TaskInfo(plugin.name, plugin.distribution, _summary(factory), params, {}, settings, error=error)


def _params(family: object) -> int | None:
    layout = getattr(family, "layout", None)
    return layout.size if isinstance(layout, Layout) else None


def _summary(factory: type) -> str:
    return (factory.__doc__ or "").strip().partition("\n")[0]
