"""The options --task, --data and --set: which task a verb works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rayl2o.cli.options import assignments
from rayl2o.config import plain_yaml, task_file
from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.datasets.registry import source_of
from rayl2o.tasks.registry import settings_of, task


def family(
    name: str, data: str | None, settings: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> TaskFamily:
    """The task of the options.

    Args:
        name: A name of ``rayl2o list tasks``, or a YAML file with ``name`` and ``settings``.
        data: The data set, or None for the task's default.
        settings: ``key=value`` texts.
        defaults: Settings that data and settings override.

    Raises:
        UserError: If the task, the data set or a setting is unknown, or the task has no data.
    """
    own: Mapping[str, Any] = {}
    if name.endswith((".yaml", ".yml")):
        choice = task_file(Path(name))
        name, own = choice.name, choice.settings
    settings_known = settings_of(name)
    chosen = {**(defaults or {}), **own, **parsed(settings)}
    if data is not None:
        source_of(data)  # refuses an unknown name before the task is looked at
        if "data" not in settings_known:
            raise UserError(f"task {name!r} has no data", value=data, mend="leave out --data")
        chosen["data"] = data
    return task(name, **chosen)


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """Settings with their values read as YAML: ``hidden=[20, 20]`` is a list.

    Raises:
        UserError: If a text is not ``key=value`` or its value cannot be read.
    """
    found: dict[str, Any] = {}
    for key, value in assignments(settings):
        try:
            found[key] = plain_yaml(value)
        except ValueError as error:
            raise UserError(
                f"the value of --set {key} cannot be read ({error})", value=value, mend="quote it"
            ) from error
    return found
