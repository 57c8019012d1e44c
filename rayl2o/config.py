"""RunConfig: composes the rooms' frozen dataclasses; strict loading of YAML and of ``key=value`` overrides."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import typing
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from rayl2o.errors import UserError, unknown_name
from rayl2o.meta.rounds import TrainConfig
from rayl2o.presets import preset_text, presets
from rayl2o.rules.base import Rule
from rayl2o.rules.delayed import delayed
from rayl2o.rules.registry import make
from rayl2o.runtime import RuntimeConfig
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import CURVATURE, EXACT, FIRST_ORDER

_SIZE_LIMIT = 1 << 16
DEFAULT_CREDIT = {
    **dict.fromkeys(("rnnprop", "rnnprop-small", "rnnprop-extra", "mlp"), EXACT),
    **dict.fromkeys(("dm", "dm-small"), CURVATURE),
}
"""Credit of a config that names none, by its rule: what trained best in equal updates in the study ``which-gradient``."""
_MENDS = {
    "int_type": "give a whole number",
    "float_type": "give a number",
    "bool_type": "give true or false",
    "string_type": "give text (in quotes if it looks like a number)",
    "tuple_type": "give a list such as [1, 2]",
    "dict_type": "give a mapping such as {name: value}",
}


@dataclass(frozen=True)
class RuleChoice:
    """Which learned rule.

    Attributes:
        kind: Registered, or a named preset of one.
        settings: Of that kind.
        delay: In training it hears each gradient this many steps late (:mod:`rayl2o.rules.delayed`); the rule that is
            exported hears it at once.
    """

    kind: str = "rnnprop"
    settings: dict[str, Any] = field(default_factory=dict)
    delay: int = 0


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
    """One run: what is trained on what, how, what is written, and where it runs."""

    rule: RuleChoice = field(default_factory=RuleChoice)
    task: TaskChoice = field(default_factory=TaskChoice)
    output: OutputConfig = field(default_factory=OutputConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unroll.device != "cpu" and self.runtime.kind != "inline":
            raise UserError(
                "on Ray roll-outs and learner run on CPUs",
                value=f"unroll.device={self.unroll.device}",
                mend="use --runtime inline with a GPU",
            )

    def make_rule(self) -> Rule:
        """The rule to train, with its delay."""
        return delayed(self.exported_rule(), self.rule.delay)

    def exported_rule(self) -> Rule:
        """The rule as it is used after training."""
        return make(self.rule.kind, self.rule.settings)

    def make_family(self) -> TaskFamily:
        """The tasks to train on."""
        return task(self.task.name, **self.task.settings)


def load(preset_or_file: str, overrides: Sequence[str] = ()) -> RunConfig:
    """A preset by name or a YAML file by path, with overrides such as ``unroll.steps=10``.

    Raises:
        UserError: Unknown preset, key (with its near miss) or wrong type, unreadable file, or a value its dataclass refuses.
    """
    return parse(overridden(_read(preset_or_file), overrides), source=preset_or_file)


def parse(data: Mapping[str, Any], source: str = "config") -> RunConfig:
    """Checks plain data and builds the config; the rule and the task must exist too.

    Types are strict: a whole number passes for a float and a list for a tuple, nothing else for anything.
    """
    check_keys(RunConfig, data, "")
    data = _with_credit(data)
    try:
        # Through JSON, where strict checking still takes lists for tuples and mappings for dataclasses.
        config = TypeAdapter(RunConfig).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise first_mistake(error, source) from error
    config.make_rule()
    config.make_family()
    return config


def _with_credit(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data with the credit that suits the rule, where none is named and nothing asks for first order."""
    unroll = data.get("unroll", {})
    if "credit" in unroll or unroll.get("credit_horizon") or unroll.get("discount", 1) != 1:
        return data
    credit = DEFAULT_CREDIT.get(data.get("rule", {}).get("kind", RuleChoice.kind), FIRST_ORDER)
    if data.get("estimator") == "bptt" and credit == CURVATURE:
        credit = EXACT
    return {**data, "unroll": {**unroll, "credit": credit}}


def dump(config: RunConfig) -> str:
    """YAML text that :func:`load_text` reads back to an equal config."""
    return yaml.dump(_plain(dataclasses.asdict(config)), Dumper=_Dumper, sort_keys=False)


def task_file(path: Path) -> TaskChoice:
    """A task from a YAML file: the ``task`` section of a config, as a file of its own.

    Raises:
        UserError: If the file cannot be read, or is anything but ``name`` and ``settings``.
    """
    data = _read(str(path))
    check_keys(TaskChoice, data, "")
    try:
        return TypeAdapter(TaskChoice).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise first_mistake(error, str(path)) from error


def load_text(text: str, source: str) -> RunConfig:
    """A config from YAML text (a run's ``config.yaml``)."""
    return parse(mapping(text, source), source)


def _read(preset_or_file: str) -> dict[str, Any]:
    if preset_or_file in presets():
        return mapping(preset_text(preset_or_file), preset_or_file)
    path = Path(preset_or_file)
    if "=" in preset_or_file and not path.is_file():
        raise UserError("a preset or a YAML file comes first", value=preset_or_file, mend="e.g. quickstart updates=100")
    if path.suffix not in {".yaml", ".yml"} and not path.is_file():
        raise unknown_name("preset", preset_or_file, presets())
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise UserError(
                f"the config file is over {_SIZE_LIMIT} bytes", value=preset_or_file, mend="a config is a few lines"
            )
        return mapping(path.read_text(encoding="utf-8"), preset_or_file)
    except UnicodeDecodeError as error:
        raise UserError("the config file is not UTF-8 text", value=preset_or_file, mend="save it as text") from error
    except OSError as error:
        raise UserError(
            f"the config file cannot be read ({error.strerror})",
            value=preset_or_file,
            mend="give a YAML file or a preset's name",
        ) from error


class _Loader(yaml.SafeLoader):
    """Plain YAML 1.2 values only: ``no`` is text, ``1e-3`` a number, a key stands once, and nothing is aliased or tagged."""

    yaml_constructors = {  # noqa: RUF012 (the library's own way)
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in {"null", "bool", "int", "float", "str", "seq"}
    }
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed, write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = True) -> dict[Hashable, Any]:
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=deep)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.YAMLError(f"line {line}: {key!r} is not a name")
            if key in found:
                raise yaml.YAMLError(f"line {line}: {key!r} stands twice")
            found[key] = self.construct_object(value_node, deep=deep)
        return found


class _Dumper(yaml.SafeDumper):
    """Quotes what :class:`_Loader` would read as something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    return loader.construct_mapping(node)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?|[-+]?\.inf", list("-+0123456789.")),
):
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


_DEEPEST = 50
"""Brackets within brackets, quoted ones counted too."""


def plain_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        ValueError: With one line, if it is anything but plain values.
    """
    depths = itertools.accumulate(((c in "[{") - (c in "]}") for c in text), initial=0)
    if max(depths) > _DEEPEST:  # the parser takes cubic time to find out
        raise ValueError("nested too deeply")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{line}{error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def mapping(text: str, source: str) -> dict[str, Any]:
    """YAML text as plain named values. Raises UserError if it is anything else."""
    try:
        data = plain_yaml(text)
    except ValueError as error:
        raise UserError(f"{source} is not plain YAML", value=str(error), mend="mend that line") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{source} must be a mapping of names", value=data, mend="write lines such as 'updates: 100'")
    return data


def overridden(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The data with ``a.b=VALUE`` texts written into it. Raises UserError for a text that is none."""
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
            node[leaf] = plain_yaml(value)
        except ValueError as error:
            raise UserError(
                f"the value of {path!r} is not plain YAML ({error})", value=value, mend="quote it"
            ) from error
    return data


def check_keys(cls: type[Any], data: Mapping[str, Any], path: str) -> None:
    """Raises UserError for an unknown key, with the near miss; pydantic ignores extra keys of standard dataclasses."""
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    for key, value in data.items():
        if key not in names:
            raise unknown_name(f"key in {path.rstrip('.') or 'the config'}", key, names)
        hint = hints[key]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise UserError(f"{path}{key} is a section", value=value, mend=f"write '{path}{key}.NAME=VALUE'")
            check_keys(hint, value, f"{path}{key}.")


def first_mistake(error: ValidationError, source: str) -> UserError:
    """The first thing that pydantic found wrong, in one line."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return cause
    where = ".".join(str(part) for part in first["loc"])
    mend = _MENDS.get(first["type"], first["msg"])
    return UserError(f"{where} in {source} has the wrong type", value=first["input"], mend=mend)


def _plain(value: Any) -> Any:
    """Tuples to lists, all the way down, so that the YAML is plain."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
