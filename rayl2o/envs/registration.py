"""Which tasks have an environment, and their gymnasium ids."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.plugins import plugins
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.catalogue import FAMILIES, NAMED
from rayl2o.tasks.datasets.registry import SOURCES
from rayl2o.tasks.registry import GROUP, task

NAMESPACE = "rayl2o"
VERSION = 0
MAX_SIZE = 20_000
"""A task of more coordinates has no id; its environment is made from :class:`~rayl2o.envs.OptimizationEnv` itself."""
ENTRY_POINT = "rayl2o.envs.single:OptimizationEnv"
VECTOR_ENTRY_POINT = "rayl2o.envs.vector:OptimizationVectorEnv"


@dataclass(frozen=True)
class EnvInfo:
    """An environment that is registered.

    Attributes:
        id: As ``gymnasium.make`` takes it.
        task: Name of the task.
        size: D, coordinates of the task; None for a plugin's, whose code is not imported before it is made.
    """

    id: str
    task: str
    size: int | None


def env_id(name: str) -> str:
    """``rayl2o/<name>-v0``."""
    return f"{NAMESPACE}/{name}-v{VERSION}"


def environments() -> list[EnvInfo]:
    """Every environment: built-in tasks of at most :data:`MAX_SIZE` coordinates that need no files, then plugins' tasks."""
    names = dict.fromkeys((*FAMILIES, *NAMED))  # a task may have the name of its family
    found = [EnvInfo(env_id(name), name, size) for name in names if (size := _small(name)) is not None]
    return found + [EnvInfo(env_id(plugin.name), plugin.name, None) for plugin in plugins(GROUP)]


def register_all() -> None:
    """Registers every environment with gymnasium; an id that is taken stays as it is."""
    for info in environments():
        if info.id not in gymnasium.registry:
            gymnasium.register(
                id=info.id,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                kwargs={"task": info.task},
            )


def _small(name: str) -> int | None:
    """D of a built-in task with its default settings; None if it needs files, is too large or cannot be used here."""
    try:
        family = task(name)
        size = _size(family)
    except (UserError, ImportError):  # a task that wants settings, or a library that is not installed
        return None
    return size if size is not None and size <= MAX_SIZE and not _needs_files(family) else None


def _size(family: TaskFamily) -> int | None:
    layout = getattr(family, "layout", None)
    return layout.size if isinstance(layout, Layout) else None


def _needs_files(family: TaskFamily) -> bool:
    """Whether the data set of the default settings is read from the user's files."""
    source = SOURCES.get(getattr(family, "data", ""))
    return source is not None and hasattr(source, "read_files")
