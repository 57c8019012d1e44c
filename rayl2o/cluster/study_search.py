"""Tune's two roles for a study of several cells: which setting comes next, and which trial is stopped early."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import Searcher

from rayl2o.cluster.study_base import Cell, SearchConfig, Study
from rayl2o.cluster.study_records import Record
from rayl2o.cluster.study_space import setting_at
from rayl2o.seeds import derive_seed

SCORE, STEPS = "score", "steps"
"""Names of what trials report to Tune."""


class StudySearch(Searcher):
    """Gives each cell in turn its next setting, until all have as many as the study wants.

    Trials that have a record are not suggested again. ``suggest`` gives ``{"cell", "ordinal", "point", "setting"}``.
    """

    def __init__(self, study: Study, found: Sequence[Record]) -> None:
        super().__init__(metric=SCORE, mode="min")
        self._cells = {cell.name: cell for cell in study.cells()}
        done = {(one.cell, one.ordinal) for one in found}
        self._open = [
            (name, ordinal) for ordinal in range(study.draws) for name in self._cells if (name, ordinal) not in done
        ]
        self._next = 0
        self._points = {name: cell.points(study.draws) for name, cell in self._cells.items()}
        self._models: dict[str, Searcher] = {}
        self._owner: dict[str, str] = {}
        if study.search.kind == "optuna":
            self._models = {
                name: _tpe(cell, [one for one in found if one.cell == name]) for name, cell in self._cells.items()
            }

    @property
    def remaining(self) -> int:
        """Trials that are still to be suggested."""
        return len(self._open) - self._next

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if not self.remaining:
            return None
        name, ordinal = self._open[self._next]
        point = self._points[name][ordinal]
        if name in self._models:
            suggested = self._models[name].suggest(trial_id)
            if suggested is None:
                return None
            point, self._owner[trial_id] = suggested, name
        self._next += 1
        setting = setting_at(self._cells[name].dimensions, point)
        return {"cell": name, "ordinal": ordinal, "point": point, "setting": setting}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        name = self._owner.pop(trial_id, None)
        if name is not None:
            failed = error or not result or result.get("status") not in ("ok", "diverged")
            self._models[name].on_trial_complete(trial_id, None if failed else result, error=failed)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resumed study is rebuilt from its records."""
        Path(checkpoint_path).write_bytes(b"")


def _tpe(cell: Cell, found: Sequence[Record]) -> Searcher:
    """Optuna's default sampler over the unit cube, told of the trials that are over."""
    optuna: Any = importlib.import_module("optuna")
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # A sampler that begins anew must not begin with the same draws.
    seed = derive_seed(str(cell.seed), "optuna", len(found)) % 2**32
    space = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in cell.dimensions}
    model = OptunaSearch(space=space, metric=SCORE, mode="min", seed=seed)
    for one in found:
        if one.finished and one.score is not None:
            model.add_evaluated_point(one.point, one.score)
    return model


class StudyAsha(FIFOScheduler):
    """Asynchronous successive halving within each cell: losses of different tasks do not compare, and every optimizer
    shall finish. Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020."""

    def __init__(self, cells: Sequence[Cell], search: SearchConfig, budget: int, found: Sequence[Record]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        first = min((*search.rungs(budget), budget))
        self._brackets: dict[str, Any] = {
            cell.name: ASHAScheduler(
                time_attr=STEPS, metric=SCORE, mode="min", max_t=budget, grace_period=first,
                reduction_factor=search.reduction,
            )
            for cell in cells
        }  # fmt: skip
        for one in found:
            self._replay(one)

    def _replay(self, one: Record) -> None:
        """Shows ASHA a trial of an earlier session."""
        bracket, trial = self._brackets[one.cell], _Past(one.name)
        bracket.on_trial_add(None, trial)
        for steps, score in one.reports:
            bracket.on_trial_result(None, trial, {STEPS: steps, SCORE: score})

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:  # noqa: ARG002
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        return str(self._of(trial).on_trial_result(tune_controller, trial, dict(result)))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, dict(result))

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        return f"ASHA in each of {len(self._brackets)} cells"

    def _of(self, trial: Trial) -> Any:
        return self._brackets[trial.config["cell"]]


@dataclass(frozen=True)
class _Past:
    trial_id: str
