"""RunConfig: composes the rooms' frozen dataclasses; strict loading of YAML and of ``key=value`` overrides."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from rayl2o.errors import UserError, unknown_name
from rayl2o.meta.rounds import TrainConfig
from rayl2o.rules.base import Rule
from rayl2o.rules.registry import make
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task

_SIZE_LIMIT = 1 << 20


@dataclass(frozen=True)
class RuleChoice:
    """Which learned rule: its registered kind (or a named preset of it) and settings."""

    kind: str = "rnnprop"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskChoice:
    """Which task or family, by registered name, and settings."""

    name: str = "mlp-orig"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputConfig:
    """What a run leaves in its folder.

    Attributes:
        checkpoint_every: Rounds between checkpoints.
        keep: Checkpoints kept, at least 2.
        segments: Whether every round's segments are kept as Arrow IPC files.
    """

    checkpoint_every: int = 50
    keep: int = 2
    segments: bool = False

    def __post_init__(self) -> None:
        if self.checkpoint_every < 1:
            raise UserError("output.checkpoint_every must be at least 1", value=self.checkpoint_every, mend="use 50")
        if self.keep < 2:
            raise UserError("output.keep must be at least 2", value=self.keep, mend="one may be torn, so keep two")


@dataclass(frozen=True)
class RunConfig(TrainConfig):
    """One run: what is trained on what, how, and what is written."""

    rule: RuleChoice = field(default_factory=RuleChoice)
    task: TaskChoice = field(default_factory=TaskChoice)
    output: OutputConfig = field(default_factory=OutputConfig)

    def make_rule(self) -> Rule:
        """The rule to train."""
        return make(self.rule.kind, self.rule.settings)

    def make_family(self) -> TaskFamily:
        """The tasks to train on."""
        return task(self.task.name, **self.task.settings)


def presets() -> dict[str, str]:
    """Shipped presets: name to first comment line."""
    folder = resources.files("rayl2o") / "presets"
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): item.read_text().splitlines()[0].lstrip("# ") for item in found}


def load(preset_or_file: str, overrides: Sequence[str] = ()) -> RunConfig:
    """A preset by name or a YAML file by path, with overrides such as ``unroll.steps=10``.

    Raises:
        UserError: Unknown preset, key (with its near miss) or wrong type, unreadable file, or a value its dataclass refuses.
    """
    return parse(_override(_read(preset_or_file), overrides), source=preset_or_file)


def parse(data: Mapping[str, Any], source: str = "config") -> RunConfig:
    """Checks plain data and builds the config; the rule and the task must exist too."""
    _check_keys(RunConfig, data, "")
    try:
        config = TypeAdapter(RunConfig).validate_python(dict(data))
    except ValidationError as error:
        raise _first_mistake(error, source) from error
    config.make_rule()
    config.make_family()
    return config


def dump(config: RunConfig) -> str:
    """YAML text that :func:`load_text` reads back to an equal config."""
    return yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False)


def load_text(text: str, source: str) -> RunConfig:
    """A config from YAML text (a run's ``config.yaml``)."""
    return parse(_mapping(text, source), source)


def _read(preset_or_file: str) -> dict[str, Any]:
    path = Path(preset_or_file)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        if not path.is_file():
            raise UserError("no such config file", value=preset_or_file, mend="give a YAML file or a preset's name")
        if path.stat().st_size > _SIZE_LIMIT:
            raise UserError(
                "the config file is over 1 MiB", value=preset_or_file, mend="a config is a few lines of YAML"
            )
        try:
            return _mapping(path.read_text(encoding="utf-8"), preset_or_file)
        except UnicodeDecodeError as error:
            raise UserError(
                "the config file is not UTF-8 text", value=preset_or_file, mend="save it as text"
            ) from error
    if preset_or_file not in presets():
        raise unknown_name("preset", preset_or_file, presets())
    return _mapping((resources.files("rayl2o") / "presets" / f"{preset_or_file}.yaml").read_text(), preset_or_file)


def _mapping(text: str, source: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{source} is not YAML", value=str(error), mend="check indentation and colons") from error
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(f"{source} must be a mapping of names", value=data, mend="write lines such as 'updates: 100'")
    return data


def _override(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise UserError("an override must read key=value", value=text, mend="e.g. updates=100 or unroll.steps=10")
        *parents, leaf = path.split(".")
        node = data
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UserError(f"{parent!r} in {path!r} is a value, not a section", value=text, mend="drop the dot")
        try:
            node[leaf] = yaml.safe_load(value)
        except (yaml.YAMLError, RecursionError) as error:
            raise UserError(f"the value of {path!r} is not YAML", value=value, mend="quote it") from error
    return data


def _check_keys(cls: type[Any], data: Mapping[str, Any], path: str) -> None:
    """Unknown keys, with the near miss; pydantic ignores extra keys of standard dataclasses."""
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    for key, value in data.items():
        if key not in names:
            raise unknown_name(f"key in {path.rstrip('.') or 'the config'}", key, names)
        hint = hints[key]
        if isinstance(hint, types.UnionType) or not isinstance(hint, type):
            continue
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise UserError(f"{path}{key} is a section", value=value, mend=f"write '{path}{key}.NAME=VALUE'")
            _check_keys(hint, value, f"{path}{key}.")


def _first_mistake(error: ValidationError, source: str) -> UserError:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return cause
    where = ".".join(str(part) for part in first["loc"])
    return UserError(f"{where} in {source}: {first['msg']}", value=first["input"], mend=f"mend {where}")


def _plain(value: Any) -> Any:
    """Tuples to lists, all the way down, so that the YAML is plain."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
