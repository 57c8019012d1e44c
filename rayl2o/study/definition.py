"""A study as frozen data, read strictly from YAML: which arms, over which meta-seeds, scored on what."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rayl2o.config import TaskChoice, check_keys, first_mistake, mapping, overridden
from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.search_space import SPACES
from rayl2o.studies import studies, study_text
from rayl2o.study.distillation import Distillation
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task

ALL, LAST = "all", "last"
FIT_FOR_FILES = re.compile(r"[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*")
"""What a study, an axis, a level and an evaluation may be called: their names make the names of files."""
_SIZE_LIMIT = 1 << 16


@dataclass(frozen=True)
class Snapshots:
    """When phi is kept; the end of the training (``updates`` of the arm's config) is always one.

    Attributes:
        updates: After so many updates; 0 is the fresh phi.
        cpu_s: After so many CPU seconds of training; an arm trains on until the last of them is over too.
    """

    updates: tuple[int, ...] = ()
    cpu_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(mark < 0 for mark in self.updates):
            raise UserError("snapshots.updates must be at least 0", value=self.updates, mend="0 is the fresh phi")
        if any(not mark > 0 for mark in self.cpu_s):
            raise UserError("snapshots.cpu_s must be positive", value=self.cpu_s, mend="give seconds")


@dataclass(frozen=True)
class Evaluation:
    """What snapshots are scored on.

    Attributes:
        name: In tables; empty means the task's name.
        task: The task.
        steps: Horizon.
        first_seed, seeds: Evaluation seeds ``first_seed ... first_seed + seeds - 1`` (:func:`rayl2o.evaluate.runner.run`). They
            must have been seen neither in training nor in choosing: training never draws from them, the rest is yours.
        snapshots: ``last`` (of each clock) or ``all``.
        where: Only the arms with these levels, by axis; empty means all.
    """

    task: TaskChoice
    name: str = ""
    steps: int = 1000
    first_seed: int = 10_000
    seeds: int = 5
    snapshots: str = LAST
    where: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "seeds"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} of an evaluation must be at least 1", value=getattr(self, name), mend="use 5")
        if self.snapshots not in (ALL, LAST):
            raise unknown_name("snapshots of an evaluation", self.snapshots, (ALL, LAST))

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.name or self.task.name

    @property
    def eval_seeds(self) -> tuple[int, ...]:
        """Its seeds."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))

    def make_family(self) -> TaskFamily:
        """Its task."""
        return task(self.task.name, **self.task.settings)


@dataclass(frozen=True)
class Baselines:
    """Classic rules, tuned for each evaluation on its task, metric and horizon (:func:`rayl2o.evaluate.tuning.tune`).

    Attributes:
        rules: Keys of :data:`rayl2o.evaluate.search_space.SPACES`.
        draws: Settings tried a round of the search.
        first_seed, seeds: Tuning seeds; they must be none of the evaluation's.
    """

    rules: tuple[str, ...] = ()
    draws: int = 200
    first_seed: int = 20_000
    seeds: int = 3

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule not in SPACES:
                raise unknown_name("rule to tune", rule, SPACES)
        for name in ("draws", "seeds"):
            if getattr(self, name) < 1:
                raise UserError(f"baselines.{name} must be at least 1", value=getattr(self, name), mend="use 3 or more")

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Its seeds."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))


@dataclass(frozen=True)
class Probe:
    """Cosine of meta-gradients to the exact one, at every snapshot, on the task that the arm is trained on.

    Attributes:
        credits: Which ones (``unroll.credit``); empty measures nothing.
        at: Inner steps at which a window begins, in whole windows of the arm (rounded down).
        windows: Windows of different initialisations at each.
    """

    credits: tuple[str, ...] = ()
    at: tuple[int, ...] = (0, 100)
    windows: int = 2

    def __post_init__(self) -> None:
        if self.windows < 1 or not self.at or min(self.at) < 0:
            raise UserError(
                "a probe needs windows >= 1 and steps >= 0", value=(self.windows, self.at), mend="e.g. at [0, 100]"
            )


@dataclass(frozen=True)
class Study:
    """Arms x meta-seeds. An arm is one level of every axis.

    Attributes:
        question: What it asks, a sentence.
        seeds: Meta-seeds: ``seed`` of the arm's config.
        base: Part of a run's config that all arms share, with ``preset: NAME`` if it begins with one.
        axes: Axis to level to the part of a config that the level sets (:func:`rayl2o.study.arms.arms`).
        reference: Axis to the level that an arm is compared with; the other levels stay the arm's own. Empty compares nothing.
        snapshots, evaluations, baselines, probe, distillation: See each.
        alive_below: A trained rule counts as alive if its mean loss is below; 0 counts nothing.
    """

    question: str
    seeds: tuple[int, ...]
    axes: dict[str, dict[str, dict[str, Any]]]
    evaluations: tuple[Evaluation, ...]
    base: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, str] = field(default_factory=dict)
    snapshots: Snapshots = field(default_factory=Snapshots)
    baselines: Baselines = field(default_factory=Baselines)
    probe: Probe = field(default_factory=Probe)
    distillation: Distillation = field(default_factory=Distillation)
    alive_below: float = 0.0

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UserError("seeds must be different numbers", value=self.seeds, mend="e.g. [0, 1, 2]")
        if not self.axes or not all(self.axes.values()):
            raise UserError("a study needs axes with levels", value=self.axes, mend="e.g. axes: {rule: {dm: {...}}}")
        if not self.evaluations:
            raise UserError("a study needs an evaluation", value=self.evaluations, mend="name a task")
        labels = [one.label for one in self.evaluations]
        if len(set(labels)) != len(labels):
            raise UserError("evaluations must have different names", value=labels, mend="give each a name")
        for name in (*self.axes, *(level for levels in self.axes.values() for level in levels), *labels):
            if not FIT_FOR_FILES.fullmatch(name):
                raise UserError("a name is not fit for a file's", value=name, mend="use letters, digits, '-', '_', '.'")
        for chosen in (self.reference, *(one.where for one in self.evaluations)):
            _check_levels(self.axes, chosen)


def _check_levels(axes: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, str]) -> None:
    for axis, level in chosen.items():
        if axis not in axes:
            raise unknown_name("axis", axis, axes)
        if level not in axes[axis]:
            raise unknown_name(f"level of axis {axis!r}", level, axes[axis])


def load(name_or_file: str, overrides: Sequence[str] = ()) -> Study:
    """A shipped study by name or a YAML file by path, with overrides such as ``base.updates=10``.

    Raises:
        UserError: Unknown study, key (with its near miss) or wrong type, unreadable file, or a value its dataclass refuses.
    """
    return parse(overridden(_read(name_or_file), overrides), name_or_file)


def name_of(name_or_file: str) -> str:
    """What a study's files are called: its name, or its file's without the suffix."""
    return name_or_file if name_or_file in studies() else Path(name_or_file).stem


def parse(data: Mapping[str, Any], source: str = "study") -> Study:
    """Checks plain data and builds the study; the configs of its arms are checked when they are made."""
    check_keys(Study, data, "")
    for i, item in enumerate(data.get("evaluations") or ()):
        if isinstance(item, dict):
            check_keys(Evaluation, item, f"evaluations.{i}.")
    try:
        return TypeAdapter(Study).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise first_mistake(error, source) from error


def plain(value: Any) -> Any:
    """A study or a part of it as JSON-able data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def written(value: Any) -> Any:
    """As :func:`plain`, without what is at its default: the same for a definition however many settings are added later."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return [written(item) for item in value] if isinstance(value, list | tuple) else plain(value)
    return {f.name: written(getattr(value, f.name)) for f in dataclasses.fields(value) if not _at_default(value, f)}


def _at_default(value: Any, f: dataclasses.Field[Any]) -> bool:
    default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
    return bool(getattr(value, f.name) == default)


def _read(name_or_file: str) -> dict[str, Any]:
    if name_or_file in studies():
        return mapping(study_text(name_or_file), name_or_file)
    path = Path(name_or_file)
    if path.suffix not in {".yaml", ".yml"} and not path.is_file():
        raise unknown_name("study", name_or_file, studies())
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise UserError(f"a study's file is over {_SIZE_LIMIT} bytes", value=name_or_file, mend="it is a few lines")
        return mapping(path.read_text(encoding="utf-8"), name_or_file)
    except UnicodeDecodeError as error:
        raise UserError("a study's file is not UTF-8 text", value=name_or_file, mend="save it as text") from error
    except OSError as error:
        raise UserError(
            f"a study's file cannot be read ({error.strerror})", value=name_or_file, mend="see rayl2o list studies"
        ) from error
