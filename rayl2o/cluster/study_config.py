"""A study as frozen data, read strictly from YAML; here the sweeps of baseline optimizers and of meta-training settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rayl2o.cluster.study_base import BASELINES, SYMBOLIC, TRAINING, Cell, Study
from rayl2o.cluster.study_space import OPTIMIZERS, USUAL, Dimension, dimension, dimensions_of, setting_at
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.config import RunConfig, check_keys, first_mistake, load, mapping, overridden, plain_yaml
from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.runner import draw_task
from rayl2o.seeds import derive_seed
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task

_SIZE_LIMIT = 1 << 16
_DOTTED = ("fixed", "space", "ranges")
"""Sections whose keys are dotted names."""


@dataclass(frozen=True)
class BaselineStudy(Study):
    """Every optimizer on every task.

    Attributes:
        tasks: Names of ``rayl2o list tasks``.
        task_settings: Settings of all of them, such as ``{data: digits}``.
        optimizers: Keys of :data:`rayl2o.cluster.study_space.OPTIMIZERS`.
        ranges: Other ranges than the default ones, ``adam.lr: [low, high]``.
    """

    tasks: tuple[str, ...] = ("mlp-orig",)
    task_settings: dict[str, Any] = field(default_factory=dict)
    optimizers: tuple[str, ...] = USUAL
    ranges: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tasks", "optimizers"):
            names = getattr(self, name)
            if not names or len(set(names)) != len(names):
                raise UserError(
                    f"{name} must be different names, at least one", value=list(names), mend="give each once"
                )
        for name in self.optimizers:
            if name not in OPTIMIZERS:
                raise unknown_name("optimizer", name, OPTIMIZERS)
        for key in self.ranges:
            if (owner := key.partition(".")[0]) not in self.optimizers:
                raise unknown_name("optimizer in ranges", owner, self.optimizers)
        self.cells()
        for name in self.tasks:
            self.family(name)

    @property
    def budget(self) -> int:
        """The horizon."""
        return self.horizon

    def family(self, name: str) -> TaskFamily:
        """The task of a name."""
        return task(name, **self.task_settings)

    def cells(self) -> tuple[Cell, ...]:
        """Tasks by optimizers. The draws are those of :func:`rayl2o.evaluate.tuning.tune` with the same seed."""
        return tuple(
            Cell(
                f"{name}-{optimizer}",
                name,
                optimizer,
                dimensions_of(optimizer, self.ranges),
                derive_seed("evaluate", "tuning", optimizer, self.seed, 0),
            )
            for name in self.tasks
            for optimizer in self.optimizers
        )

    def check(self) -> None:
        """Also reads the tasks' data."""
        super().check()
        for name in self.tasks:
            draw_task(self.family(name), self.tuning_seeds[:1])


@dataclass(frozen=True)
class TrainingStudy(Study):
    """Settings of a meta-training; the metric is the mean loss of the trained rule in closed loop.

    Attributes:
        base: A preset or a YAML file of ``rayl2o train``.
        fixed: Overrides of it that hold in every trial, by dotted name, as ``rayl2o train`` takes them.
        space: What is searched, by dotted name, such as ``learner.rtg.lr: {log: [1e-4, 1e-2]}``.
        meta_seeds: Every setting is trained once from each; the metric is the mean over them.
    """

    kind: str = TRAINING
    base: str = "quickstart"
    fixed: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=dict)
    meta_seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.fixed:
            if name in self.space:
                raise UserError("a setting is both fixed and searched", value=name, mend="name it once")
        if not self.meta_seeds or len(set(self.meta_seeds)) != len(self.meta_seeds):
            raise UserError("meta_seeds must be different numbers", value=list(self.meta_seeds), mend="e.g. [0]")
        if not self.dimensions():
            raise UserError(
                "the space is empty", value=self.space, mend="e.g. space: {learner.rtg.lr: {log: [1e-4, 1e-2]}}"
            )
        self.config({}, self.meta_seeds[0])

    @property
    def budget(self) -> int:
        """Updates of a meta-training."""
        return self.config({}, self.meta_seeds[0]).updates

    def dimensions(self) -> dict[str, Dimension]:
        """What is searched, by dotted name."""
        return {name: dimension(name, written) for name, written in self.space.items()}

    def cells(self) -> tuple[Cell, ...]:
        """One."""
        rule = self.config({}, self.meta_seeds[0])
        seed = derive_seed("study", TRAINING, self.seed)
        return (Cell(TRAINING, rule.task.name, rule.rule.kind, self.dimensions(), seed),)

    def config(self, setting: Mapping[str, Any], meta_seed: int) -> RunConfig:
        """The run of a setting.

        Raises:
            UserError: If base, fixed values and setting make no valid config.
        """
        changes = {**self.fixed, **setting, "seed": meta_seed}
        return load(self.base, [f"{name}={json.dumps(value)}" for name, value in changes.items()])

    def check(self) -> None:
        """Also makes the config of every end and choice, the other settings in the middle, and reads the task's data."""
        super().check()
        dimensions = self.dimensions()
        middle = setting_at(dimensions, dict.fromkeys(dimensions, 0.5))
        for name, one in dimensions.items():
            for value in one.probes():
                try:
                    config = self.config({**middle, name: value}, self.meta_seeds[0])
                except UserError as error:
                    raise UserError(
                        f"space.{name} has a value that no run takes ({error})", value=value, mend="change the space"
                    ) from error
                if config.updates != self.budget:
                    raise UserError(
                        "the number of updates is the budget of a trial", value=name, mend="search other settings"
                    )
        draw_task(config.make_family(), self.tuning_seeds[:1])


def read(path: str, overrides: Sequence[str] = ()) -> Study:
    """A study from a YAML file with overrides such as ``draws=10``.

    Raises:
        UserError: Unreadable file, unknown key or name (with its near miss), wrong type, or a value that is refused.
    """
    file = Path(path)
    if "=" in path and not file.is_file():
        raise UserError(
            "a study's YAML file comes first", value=path, mend="e.g. tune_configs/baselines_mlp.yaml draws=10"
        )
    try:
        if file.stat().st_size > _SIZE_LIMIT:
            raise UserError(f"the study is over {_SIZE_LIMIT} bytes", value=path, mend="a study is a few lines")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError("the study is not UTF-8 text", value=path, mend="save it as text") from error
    except OSError as error:
        raise UserError(
            f"the study cannot be read ({error.strerror})",
            value=path,
            mend="give a YAML file such as tune_configs/baselines_mlp.yaml",
        ) from error
    data = overridden(mapping(text, path), [one for one in overrides if not _dotted(one)])
    for one in overrides:
        if _dotted(one):
            _set(data, one)
    return parse(data, path)


def _dotted(override: str) -> bool:
    section, dot, _ = override.partition("=")[0].partition(".")
    return bool(dot) and section in _DOTTED


def _set(data: dict[str, Any], override: str) -> None:
    """``fixed.unroll.steps=10``: the rest of the name is one key, not a section in a section."""
    name, equals, value = override.partition("=")
    section, _, key = name.partition(".")
    if not equals or not key or not isinstance(data.setdefault(section, {}), dict):
        raise UserError("an override must read key=value", value=override, mend="e.g. fixed.updates=100")
    try:
        data[section][key] = plain_yaml(value)
    except ValueError as error:
        raise UserError(f"the value of {name!r} is not plain YAML ({error})", value=value, mend="quote it") from error


def parse(data: Mapping[str, Any], source: str) -> Study:
    """Checks plain data and builds the study; types are strict, as in :func:`rayl2o.config.parse`."""
    classes: dict[str, type[Study]] = {BASELINES: BaselineStudy, TRAINING: TrainingStudy, SYMBOLIC: SymbolicStudy}
    kind = data.get("kind")
    if kind is None:
        raise UserError("a study needs a kind", value=source, mend=f"write kind: and one of {', '.join(classes)}")
    if kind not in classes:
        raise unknown_name("kind of study", str(kind), classes)
    check_keys(classes[kind], data, "")
    try:
        return TypeAdapter(classes[kind]).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise first_mistake(error, source) from error


def dump(study: Study) -> str:
    """YAML text that :func:`parse` reads back to an equal study: a line for every key, with JSON values."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in dataclasses.asdict(study).items())


def load_text(text: str, source: str) -> Study:
    """A study from YAML text."""
    return parse(mapping(text, source), source)
