"""What a study of an engine is worth: the tuned setting beside the engine's default and the linear engine, on other fits.

Every fit has tables, a search and a selection of its own; its formula is run on the scoring seeds and scored on test rows.
All have the same ceiling of CPU seconds. A fit that is scored is kept in a file, so that a killed study goes on after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rayl2o.checkpoint import replace_file
from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.study_symbolic import R2, SymbolicStudy, operand_key
from rayl2o.cluster.symbolic_fit import SeededRuns, fitted, tables_of
from rayl2o.errors import UserError
from rayl2o.evaluate.statistics import Interval, mean_interval, paired_difference
from rayl2o.rules.files import LoadedRule
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.engines.preset import EnginePreset
from rayl2o.symbolic.selection import score
from rayl2o.symbolic.tables import Tables

TUNED, OPERANDS, DEFAULT, LINEAR = "tuned", "operands", "default", "linear"
"""Contenders; ``operands`` is the default in the tuned operands: what the engine's own settings add shows beside it."""
SCORED = "scored"
"""Folder of the fits that are scored."""


@dataclass(frozen=True)
class FitScore:
    """One contender's fit.

    Attributes:
        fit: Its seed.
        formula, nodes, buffers: What was selected on the tuning seeds.
        r2_test: On rows that chose nothing.
        per_seed: Mean loss over the horizon on each scoring seed.
        diverged: Scoring runs that diverged.
        cpu_s: CPU seconds of the search.
        error: Why there is no formula; the other fields are then empty.
    """

    fit: int
    formula: str = ""
    nodes: int = 0
    buffers: int = 0
    r2_test: float | None = None
    per_seed: tuple[float, ...] = ()
    diverged: int = 0
    cpu_s: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Standing:
    """A contender over all fits.

    Attributes:
        name: ``tuned``, ``operands``, ``default`` or ``linear``.
        metric: The study's metric with its interval: of ``closed_loop`` over scoring seeds (each the mean over the fits), of
            ``r2`` (1 - R2 on test rows) over fits. None if a fit failed.
        against_default: The same of the difference to the default, seed by seed or fit by fit; None for the default itself.
        by_fit: The metric of each fit.
        fits: The fits.
    """

    name: str
    metric: Interval | None
    against_default: Interval | None
    by_fit: tuple[float, ...]
    fits: tuple[FitScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        intervals = {
            name: None if one is None else dict(vars(one))
            for name, one in (("metric", self.metric), ("against_default", self.against_default))
        }
        return {"name": self.name, **intervals, "by_fit": list(self.by_fit), "fits": [asdict(one) for one in self.fits]}


@dataclass(frozen=True)
class Comparison:
    """The contenders, and whether the tuned setting deserves to become a preset.

    Attributes:
        standings: Tuned, (if the operands were tuned too) operands, default, linear.
        beats_default: Whether tuned is below the default in every fit, and the interval of the difference is below 0.
    """

    standings: tuple[Standing, ...]
    beats_default: bool

    def __getitem__(self, name: str) -> Standing:
        return next(one for one in self.standings if one.name == name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {"standings": [one.to_json() for one in self.standings], "beats_default": self.beats_default}


def compared(
    study: SymbolicStudy, out: Path, setting: Mapping[str, Any], tell: Callable[[str], None] | None = None
) -> Comparison:
    """Scores the contenders on the fits that are not kept in ``out`` yet.

    Args:
        study, out, setting: The study, its folder, the winner.
        tell: Told what is being done.

    Raises:
        UserError: If the rule or its tables cannot be had. A contender that finds no formula is recorded, and loses.
    """
    tuned, default = study.preset(setting), study.default()
    contenders = {TUNED: tuned}
    if operand_key(tuned.operands) != operand_key(default.operands):
        contenders[OPERANDS] = replace(default, operands=tuned.operands)
    contenders |= {DEFAULT: default, LINEAR: study.linear()}
    rule = learned_rule(study.rule)
    fits: dict[str, list[FitScore]] = {name: [] for name in contenders}
    for seed in study.scoring_fits:
        tables: dict[str, Tables] = {}
        for name, preset in contenders.items():
            path = out / SCORED / f"{preset.engine}-{_digest(preset, seed)}.json"
            if tell is not None and not path.is_file():
                tell(f"scoring {name} on fit {seed}")
            fits[name].append(_kept(path, study, rule, preset, seed, tables))
    return comparison(study, fits)


def comparison(study: SymbolicStudy, fits: Mapping[str, Sequence[FitScore]]) -> Comparison:
    """The standings of contenders from their fits; every contender has the same ones."""
    default = _units(study, fits[DEFAULT])
    standings = {name: _standing(study, name, found, default) for name, found in fits.items()}
    tuned, plain = standings[TUNED], standings[DEFAULT]
    difference = tuned.against_default
    below = difference is not None and difference.high < 0
    everywhere = below and all(a < b for a, b in zip(tuned.by_fit, plain.by_fit, strict=True))
    return Comparison(tuple(standings.values()), everywhere)


def _standing(study: SymbolicStudy, name: str, fits: Sequence[FitScore], default: list[float] | None) -> Standing:
    units = _units(study, fits)
    pairs = name != DEFAULT and units is not None and default is not None
    return Standing(
        name,
        None if units is None else mean_interval(units),
        paired_difference(units or [], default or []) if pairs else None,
        tuple(_metric(study, one) for one in fits if not one.error),
        tuple(fits),
    )


def origin(study: SymbolicStudy, found: Comparison) -> dict[str, Any]:
    """Where a preset comes from, for people; plain values."""
    rule = learned_rule(study.rule)
    said: dict[str, Any] = {
        "rule": str(rule.card.get("distilled_as", study.rule)),
        "task": study.task,
        "task_settings": study.task_settings,
        "horizon": study.horizon,
        "metric": study.metric,
        "tuning_seeds": list(study.tuning_seeds),
        "scoring_seeds": list(study.scoring_seeds),
        "tuning_fits": list(study.tuning_fits),
        "scoring_fits": list(study.scoring_fits),
        "draws": study.draws,
        "search": study.search.kind,
        "beats_default": found.beats_default,
    }
    for one in found.standings:
        said[f"scored_{one.name}"] = [round(value, 6) for value in one.by_fit]
    return said


def _digest(preset: EnginePreset, seed: int) -> str:
    """Names a fit of a contender."""
    return f"{derive_seed(json.dumps(asdict(preset), sort_keys=True), seed):016x}"


def _kept(
    path: Path, study: SymbolicStudy, rule: LoadedRule, preset: EnginePreset, seed: int, tables: dict[str, Tables]
) -> FitScore:
    """The score of a fit, from its file if it is there. ``tables``: those of this fit so far, by operands; added to."""
    if path.is_file():
        return _read(path)
    key = operand_key(preset.operands)
    if key not in tables:
        tables[key] = tables_of(study, rule, preset.operands, seed)
    found = _scored(study, preset, tables[key], seed)
    replace_file(path, lambda file: file.write(json.dumps(asdict(found), indent=1).encode()))
    return found


def _read(path: Path) -> FitScore:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return FitScore(**{**data, "per_seed": tuple(data["per_seed"])})
    except (ValueError, KeyError, TypeError, OSError) as error:
        mend = "delete the file: the fit is made again"
        raise UserError("the score of a fit is damaged", value=str(path), mend=mend) from error


def _scored(study: SymbolicStudy, preset: EnginePreset, tables: Tables, seed: int) -> FitScore:
    family = study.family()
    try:
        found = fitted(study, preset, tables, seed, family)
    except UserError as error:
        return FitScore(seed, error=str(error))
    rule = found.chosen.rule()
    ran = score(rule, rule.init_phi(), SeededRuns.of(family, study.scoring_seeds), study.horizon)
    return FitScore(
        seed,
        str(found.chosen.expression),
        found.chosen.complexity,
        found.chosen.buffers,
        found.chosen.r2,
        ran.per_run,
        ran.diverged,
        found.cpu_s,
    )


def _units(study: SymbolicStudy, fits: Sequence[FitScore]) -> list[float] | None:
    """What an interval is taken over; None if a fit failed."""
    if any(one.error for one in fits):
        return None
    if study.metric == R2:
        return [_metric(study, one) for one in fits]
    means: list[float] = np.mean([one.per_seed for one in fits], axis=0).tolist()
    return means


def _metric(study: SymbolicStudy, one: FitScore) -> float:
    return 1.0 - (one.r2_test or 0.0) if study.metric == R2 else float(np.mean(one.per_seed))
