"""A study of how a learned rule is best distilled: settings of an engine of symbolic regression, sizes, sets of operands."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.study_base import SYMBOLIC, Cell, Study, check_seeds
from rayl2o.cluster.study_space import Choice, Dimension, dimension, setting_at
from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.runner import draw_task
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.preset import OPERANDS, EnginePreset
from rayl2o.symbolic.engines.registry import ENGINES, engine, resolve
from rayl2o.symbolic.table import operands_of
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task

CLOSED_LOOP, R2 = "closed_loop", "r2"
METRICS = (CLOSED_LOOP, R2)
NODES, ENGINE, OPERAND = "nodes", "engine.", "operands."
"""How a space is written: ``nodes``, ``engine.SETTING`` and ``operands.mode`` (``signals``, ``betas``, ``lags``)."""
MOST_SETS = 16
"""Sets of operands in one space: each has tables of its own, which are recorded before the trials and sent to them."""


@dataclass(frozen=True)
class SymbolicStudy(Study):
    """Settings of an engine for the distillation of a rule.

    Attributes:
        rule: What is distilled; see :func:`rayl2o.cluster.learned_rule.learned_rule`.
        task, task_settings: On which it is recorded and formulas are run.
        engine: An engine of ``rayl2o list engines``, or a preset of one: what is tuned, and the default it is compared with.
        fixed: Values that hold in every trial, by the names of a space.
        space: What is searched: ``nodes``, ``engine.SETTING``, ``operands.mode|signals|betas|lags``; operands by ``choice`` only.
        metric: ``closed_loop`` (mean loss on the tuning seeds of the formula that is selected there) or ``r2`` (1 - R2 on
            validation rows of the best formula within ``nodes``).
        generations: Budget of a trial in the engine's own steps: generations, or PySR's iterations; 1 if it has none.
        cpu_s: Ceiling of CPU seconds of every fit, in tuning and in scoring the same for all.
        rows, runs: Of each table; runs recorded for each.
        tuning_fits: Seeds of the fits by whose mean metric a setting is chosen: each has tables and a search of its own.
        scoring_fits: Seeds of other fits, which are scored.
    """

    kind: str = SYMBOLIC
    rule: str = ""
    task: str = "mlp-orig"
    task_settings: dict[str, Any] = field(default_factory=dict)
    engine: str = "evolved"
    fixed: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Any] = field(default_factory=dict)
    metric: str = CLOSED_LOOP
    generations: int = 9
    cpu_s: float = 60.0
    rows: int = 5000
    runs: int = 3
    tuning_fits: tuple[int, ...] = (1,)
    scoring_fits: tuple[int, ...] = (100, 101, 102)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metric not in METRICS:
            raise unknown_name("metric", self.metric, METRICS)
        for name in ("generations", "rows", "runs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1", value=getattr(self, name), mend="give a positive number")
        if not 0 < self.cpu_s < float("inf"):
            raise UserError("cpu_s must be positive", value=self.cpu_s, mend="use 60")
        for name, least in (("tuning_fits", 1), ("scoring_fits", 2)):
            check_seeds(name, getattr(self, name), least)
        if shared := sorted(set(self.tuning_fits) & set(self.scoring_fits)):
            raise UserError("tuning fits must not be scoring fits", value=shared, mend="choose other seeds to tune on")
        self._check_steps()
        self._check_names()
        self.family()

    def _check_steps(self) -> None:
        kind = resolve(self.engine).engine
        if ENGINES[kind].steps or (self.generations == 1 and self.search.kind != "asha"):
            return
        mend = "write generations: 1 and search.kind: random or optuna"
        raise UserError(f"the engine {kind} does not search step by step", value=self.engine, mend=mend)

    def _check_names(self) -> None:
        known = (NODES, *(f"{OPERAND}{name}" for name in OPERANDS))
        for name in (*self.fixed, *self.space):
            if name in self.fixed and name in self.space:
                raise UserError("a setting is both fixed and searched", value=name, mend="name it once")
            if not name.startswith(ENGINE) and name not in known:
                raise unknown_name("name in the space of an engine", name, (*known, f"{ENGINE}SETTING"))
            if name == f"{ENGINE}{self.steps}":
                raise UserError(f"{self.steps} are the budget of a trial", value=name, mend="write generations: N")
        dimensions = self.dimensions()
        if not dimensions:
            mend = "e.g. space: {engine.population: {int: [100, 500]}}"
            raise UserError("the space is empty", value=self.space, mend=mend)
        for name, one in dimensions.items():
            if name.startswith(OPERAND) and not isinstance(one, Choice):
                mend = "write e.g. operands.mode: {choice: [ema, paper]}"
                raise UserError("operands are searched by choice", value=name, mend=mend)
        if len(sets := self.operand_sets()) > MOST_SETS:
            mend = f"leave at most {MOST_SETS}, each needs tables of its own"
            raise UserError("too many sets of operands", value=len(sets), mend=mend)

    @property
    def budget(self) -> int:
        """Generations of a whole trial."""
        return self.generations

    @property
    def steps(self) -> str:
        """The engine's setting that counts its steps; empty if it has none."""
        return ENGINES[resolve(self.engine).engine].steps

    @property
    def nodes(self) -> int:
        """Nodes of the largest formula unless the space says otherwise: the preset's, or what a distillation has by default."""
        return (resolve(self.engine).budget or DistillConfig().budget).max_complexity

    def family(self) -> TaskFamily:
        """The task."""
        return task(self.task, **self.task_settings)

    def dimensions(self) -> dict[str, Dimension]:
        """What is searched, by the name in the space."""
        return {name: dimension(name, written) for name, written in self.space.items()}

    def cells(self) -> tuple[Cell, ...]:
        """One."""
        seed = derive_seed("study", SYMBOLIC, self.seed)
        return (Cell(SYMBOLIC, self.task, resolve(self.engine).engine, self.dimensions(), seed),)

    def preset(self, setting: Mapping[str, Any], generations: int | None = None) -> EnginePreset:
        """What a setting means: the engine with all of its settings, what it may spend, its operands.

        Args:
            setting: A point of the space.
            generations: Steps of the search; None for the whole budget.
        """
        base, given = resolve(self.engine), {**self.fixed, **setting}
        settings = {name.removeprefix(ENGINE): value for name, value in given.items() if name.startswith(ENGINE)}
        if self.steps:
            settings[self.steps] = self.generations if generations is None else generations
        operands = {name.removeprefix(OPERAND): value for name, value in given.items() if name.startswith(OPERAND)}
        return EnginePreset(
            base.engine,
            {**base.settings, **settings},
            Budget(self.cpu_s, int(given.get(NODES, self.nodes))),
            {**base.operands, **operands},
        )

    def default(self) -> EnginePreset:
        """The engine as it is without this study, under the same ceiling of CPU seconds."""
        return replace(resolve(self.engine), budget=Budget(self.cpu_s, self.nodes))

    def linear(self) -> EnginePreset:
        """What every engine must beat: the linear engine on the default operands."""
        return EnginePreset("linear", budget=Budget(self.cpu_s, self.nodes))

    def operand_sets(self) -> list[dict[str, Any]]:
        """Every set of operands that a trial may ask for, each once."""
        chosen = {name: one.values for name, one in self.dimensions().items() if isinstance(one, Choice)}
        names = [name for name in chosen if name.startswith(OPERAND)]
        points = itertools.product(*(chosen[name] for name in names))
        sets = [dict(self.preset(dict(zip(names, point, strict=True))).operands) for point in points]
        return list({operand_key(one): one for one in sets}.values())

    def check(self) -> None:
        """Also loads the rule, makes the engine of every end and choice and the operands of every set, and reads the task's data.

        Raises:
            UserError: If one of them is refused, or the engine cannot run here.
        """
        super().check()
        self._check_space()
        rule = learned_rule(self.rule)
        for one in self.operand_sets():
            operands_of(rule.kind, **one)
        draw_task(self.family(), self.tuning_seeds[:1])

    def _check_space(self) -> None:
        default = self.default()
        engine(default.engine, default.settings)
        dimensions = self.dimensions()
        middle = setting_at(dimensions, dict.fromkeys(dimensions, 0.5))
        for name, one in dimensions.items():
            for value in one.probes():
                try:
                    preset = self.preset({**middle, name: value})
                    engine(preset.engine, preset.settings)
                    if preset.budget is not None and preset.budget.max_complexity < 1:
                        raise UserError("nodes must be at least 1", value=value, mend="use 60")
                except UserError as error:
                    what = f"space.{name} has a value that the engine refuses ({error})"
                    raise UserError(what, value=value, mend="change the space") from error


def operand_key(operands: Mapping[str, Any]) -> str:
    """Names a set of operands."""
    return json.dumps(dict(operands), sort_keys=True)
