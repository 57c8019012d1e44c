"""One fit of a study of engines: tables of a rule, a search on them, the formula that the study's metric chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rayl2o.cluster.study_symbolic import R2, SymbolicStudy, operand_key
from rayl2o.errors import UserError
from rayl2o.evaluate.runner import batch_seeds, draw_specs, init_seeds
from rayl2o.rules.files import LoadedRule
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget, Pmap
from rayl2o.symbolic.engines.preset import EnginePreset, operand_settings
from rayl2o.symbolic.engines.registry import engine
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.search import search
from rayl2o.symbolic.selection import select
from rayl2o.symbolic.tables import Tables, record
from rayl2o.tasks.base import TaskFamily, TaskSpec


@dataclass(frozen=True)
class SeededRuns(Runs):
    """The runs that ``rayl2o evaluate`` makes from these seeds: a study's seeds mean the same for a formula as for any rule."""

    seeds: tuple[int, ...] = ()
    """Run i is that of ``seeds[i]``."""

    @property
    def chosen(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return tuple(self.seeds[i] for i in self.numbers)

    @classmethod
    def of(cls, family: TaskFamily, seeds: Sequence[int]) -> SeededRuns:
        """One run for each seed."""
        return cls(family, 0, "select", len(seeds), seeds=tuple(seeds))

    def specs(self, repeat: int = 1) -> list[TaskSpec]:
        return draw_specs(self.family, self.chosen * repeat)

    def init_seeds(self, repeat: int = 1) -> list[int]:
        return init_seeds(self.chosen * repeat)

    def batch_seeds(self, repeat: int = 1) -> Callable[[int], list[int]]:
        return lambda step: batch_seeds(self.chosen * repeat, step)


@dataclass(frozen=True)
class Fitted:
    """What a fit gave.

    Attributes:
        chosen: The formula that the metric chooses.
        score: The metric: mean loss on the tuning seeds, or 1 - R2 on validation rows.
        per_seed: The mean loss on each tuning seed; empty for R2.
        cpu_s: CPU seconds of the search.
    """

    chosen: Candidate
    score: float
    per_seed: tuple[float, ...]
    cpu_s: float

    def to_json(self) -> dict[str, Any]:
        """What a record keeps of it; JSON-able."""
        return {
            "formula": str(self.chosen.expression),
            "nodes": self.chosen.complexity,
            "buffers": self.chosen.buffers,
            "r2_val": self.chosen.r2_val,
            "cpu_s": round(self.cpu_s, 3),
        }


def tables_of(study: SymbolicStudy, rule: LoadedRule, operands: Mapping[str, Any], seed: int) -> Tables:
    """Tables of a rule in one set of operands; ``seed`` draws runs, coordinates and rows.

    Raises:
        UserError: If the rule diverges at once or its answer does not vary.
    """
    config = DistillConfig(
        seed=seed,
        horizon=study.horizon,
        rows=study.rows,
        collect=study.runs,
        validate=study.runs,
        test=study.runs,
        **operand_settings(operands),
    )
    return record(rule.rule, rule.phi, study.family(), config).tables


def all_tables(study: SymbolicStudy, rule: LoadedRule) -> dict[str, tuple[Tables, ...]]:
    """The tables that the trials share, one for each tuning fit, by :func:`~rayl2o.cluster.study_symbolic.operand_key`."""
    return {
        operand_key(one): tuple(tables_of(study, rule, one, seed) for seed in study.tuning_fits)
        for one in study.operand_sets()
    }


def fitted(
    study: SymbolicStudy, preset: EnginePreset, tables: Tables, seed: int, family: TaskFamily, pmap: Pmap = map
) -> Fitted:
    """Searches and chooses.

    Args:
        study: Says the metric, the horizon, the tuning seeds.
        preset: The engine with its settings and budget.
        tables: In the preset's operands.
        seed: Of the search.
        family: The study's task, watched or not.
        pmap: Of the search.

    Raises:
        UserError: If the engine found nothing, no formula within the nodes passes the guards, or all diverge on the tuning seeds.
    """
    budget = preset.budget or Budget()
    found = search(tables, engine(preset.engine, preset.settings), budget, (seed,), pmap)
    front = _within(found.front, budget.max_complexity)
    if study.metric == R2:
        best = front.candidates[-1]  # the front rises on validation rows
        return Fitted(best, 1.0 - best.r2_val, (), found.cpu_s)
    chosen = select(front, SeededRuns.of(family, study.tuning_seeds), study.horizon)
    return Fitted(chosen.chosen, chosen.score.mean_loss, chosen.score.per_run, found.cpu_s)


def _within(front: Front, nodes: int) -> Front:
    """The front without formulas that the scales, folded back, have made larger than the engine was asked for."""
    kept = tuple(one for one in front.candidates if one.complexity <= nodes)
    if not kept:
        reasons = sorted({reason.name for one in front.refused for reason in one.refused})
        mend = "use other operands, more runs or more nodes"
        raise UserError(f"no candidate of {nodes} nodes passed the guards", value=reasons, mend=mend)
    return replace(front, candidates=kept)
