"""The arms of a study: every combination of its axes' levels, each with the config it is trained with."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayl2o.config import RunConfig, mapping, parse
from rayl2o.errors import UserError, unknown_name
from rayl2o.presets import preset_text, presets
from rayl2o.study.definition import Evaluation, Study

PRESET = "preset"
_REPLACED = {"rule": "kind", "task": "name"}
"""Sections whose settings mean nothing beside another kind: a level that says the kind replaces the section."""
_NOT_AN_ARMS = {"seed": "the study's seeds", "output": "the study's folder", "runtime": "inline, one thread"}


@dataclass(frozen=True)
class Arm:
    """One combination of levels.

    Attributes:
        name: Its levels, joined by dashes.
        levels: Axis to level.
        data: Its config as plain data, without a seed: the preset's text and what base and levels say, defaults left out.
    """

    name: str
    levels: dict[str, str]
    data: dict[str, Any]

    def config(self, seed: int) -> RunConfig:
        """Its config with a meta-seed. Raises UserError as :func:`rayl2o.config.parse` does."""
        return parse({**self.data, "seed": seed}, f"arm {self.name}")

    def evaluated_in(self, evaluation: Evaluation) -> bool:
        """Whether the evaluation is for this arm."""
        return all(self.levels[axis] == level for axis, level in evaluation.where.items())


def arms(study: Study) -> list[Arm]:
    """All arms in the order of the axes.

    Base and levels are laid over each other in the order of the axes: sections merge, everything else is replaced; so is a
    whole ``rule`` or ``task`` where its kind or name is said. At most one of them names a preset, which lies below all.

    Raises:
        UserError: If an arm's config is refused, sets what is the study's, names two presets, or two arms have one name.
    """
    found = [_arm(study, levels) for levels in itertools.product(*study.axes.values())]
    names = [arm.name for arm in found]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserError("arms must have different names", value=twice, mend="rename a level")
    for arm in found:
        _check_marks(study, arm.config(study.seeds[0]), arm.name)
    return found


def _arm(study: Study, levels: tuple[str, ...]) -> Arm:
    parts = [study.base, *(study.axes[axis][level] for axis, level in zip(study.axes, levels, strict=True))]
    named = [part[PRESET] for part in parts if PRESET in part]
    name = "-".join(levels)
    if len(named) > 1:
        raise UserError(f"arm {name} names two presets", value=named, mend="name one, in base or in one axis")
    data: dict[str, Any] = {}
    if named:
        if named[0] not in presets():
            raise unknown_name("preset", str(named[0]), presets())
        data = mapping(preset_text(named[0]), named[0])
        for key in _NOT_AN_ARMS:
            data.pop(key, None)
    for part in parts:
        data = merged(data, {key: value for key, value in part.items() if key != PRESET})
    for key, whose in _NOT_AN_ARMS.items():
        if key in data:
            raise UserError(f"arm {name} sets {key}, which is {whose}", value=data[key], mend="leave it out")
    return Arm(name, dict(zip(study.axes, levels, strict=True)), data)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``; neither is changed."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        whole = key in _REPLACED and isinstance(value, Mapping) and _REPLACED[key] in value
        merge = isinstance(old, Mapping) and isinstance(value, Mapping) and not whole
        result[key] = merged(old, value) if merge else value  # type: ignore[arg-type]
    return result


def _check_marks(study: Study, config: RunConfig, name: str) -> None:
    late = [mark for mark in study.snapshots.updates if mark > config.updates]
    if late:
        raise UserError(
            f"arm {name} ends after {config.updates} updates, before a snapshot",
            value=late,
            mend="lower snapshots.updates or raise updates",
        )


def digest(data: Any) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
