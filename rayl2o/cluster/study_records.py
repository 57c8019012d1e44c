"""What a study keeps of each trial: one JSON file per finished trial, written whole, and a Parquet table of them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayl2o.checkpoint import replace_file
from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.study_base import SYMBOLIC, TRAINING, Cell, Study
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy, dump, load_text
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.config import dump as dump_run
from rayl2o.config import plain_yaml
from rayl2o.errors import UserError
from rayl2o.folder import RULE
from rayl2o.rules.files import save_rule
from rayl2o.symbolic.engines.preset import dump_preset
from rayl2o.symbolic.engines.registry import ENGINES, resolve
from rayl2o.unroll.segment import DIVERGED, OK

STUDY, BASE, ENGINE, RESULTS, TRIALS, RUNS, TUNE = (
    "study.yaml", "base.yaml", "engine.yaml", "results.parquet", "trials", "runs", "tune",
)  # fmt: skip
PRUNED, DIED = "pruned", "died"
FINISHED = (OK, DIVERGED)
"""Statuses of trials that went the whole way; ``pruned`` ones were stopped as the worse ones, all others failed."""


@dataclass(frozen=True)
class Record:
    """A trial that is over.

    Attributes:
        cell, ordinal: Which of the study's trials.
        point: Where in the space, as fractions.
        setting: The same as values.
        status: ``ok``, ``diverged``, ``pruned``, ``timeout``, ``memory``, ``error`` or ``died``.
        steps: How far it came, of the study's budget.
        score: Mean loss over those steps (meta-training: of the rule after those updates) and tuning seeds; a distillation's
            metric; None if it failed.
        per_seed: The same for each tuning seed.
        reports: (steps, score) at the milestones.
        seconds: Of the last attempt.
        error: Why it failed.
        found: What a distillation found; see :class:`rayl2o.cluster.trials.Said`.
    """

    cell: str
    ordinal: int
    point: dict[str, float]
    setting: dict[str, Any]
    status: str
    steps: int
    score: float | None
    per_seed: tuple[float, ...] = ()
    reports: tuple[tuple[int, float], ...] = ()
    seconds: float = 0.0
    error: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Unique in the study."""
        return f"{self.cell}-{self.ordinal:04d}"

    @property
    def finished(self) -> bool:
        """Whether it went the whole way, and so may be chosen."""
        return self.status in FINISHED

    @property
    def failed(self) -> bool:
        """Whether it has no score that counts."""
        return not self.finished and self.status != PRUNED


def create(study: Study, out: Path) -> Study:
    """Makes the folder of a new study; the study as :func:`load` reads it from there.

    Raises:
        UserError: If the folder holds a study already, or cannot be written.
    """
    if (out / STUDY).exists():
        raise UserError("the folder holds a study already", value=str(out), mend="give another --out, or use --resume")
    if isinstance(study, TrainingStudy):
        config = study.config({}, study.meta_seeds[0])
        replace_file(out / BASE, lambda file: file.write(dump_run(config).encode()))
    if isinstance(study, SymbolicStudy):
        found = learned_rule(study.rule)
        save_rule(out / RULE, found.rule, found.phi, {**found.card, "distilled_as": study.rule})
        if study.engine not in ENGINES:
            text = dump_preset(resolve(study.engine), f"the preset that is tuned, {Path(study.engine).name}")
            replace_file(out / ENGINE, lambda file: file.write(text.encode()))
    replace_file(out / STUDY, lambda file: file.write(dump(study).encode()))
    return load(out)


def load(out: Path) -> Study:
    """The study of a folder; a training study's base, the rule that is distilled and the preset that is tuned are
    copies that lie there.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    path = out / STUDY
    if not path.is_file():
        raise UserError("the folder holds no study", value=str(out), mend="give the --out of an earlier 'rayl2o tune'")
    try:
        data = plain_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError("the study cannot be read", value=str(path), mend=str(error)) from error
    if isinstance(data, dict) and data.get("kind") == TRAINING:
        data["base"], data["fixed"] = str(out / BASE), {}
    if isinstance(data, dict) and data.get("kind") == SYMBOLIC:
        data["rule"] = str(out / f"{RULE}.json")
        data["engine"] = str(out / ENGINE) if (out / ENGINE).is_file() else data.get("engine")
    return load_text(json.dumps(data), str(path))


def keep(out: Path, record: Record) -> None:
    """Writes a trial's record, whole or not at all; one that is there already stays."""
    path = out / TRIALS / f"{record.name}.json"
    if not path.exists():
        replace_file(path, lambda file: file.write(json.dumps(asdict(record), indent=1).encode()))


def drop(out: Path, record: Record) -> None:
    """Forgets a trial, so that it is tried again."""
    (out / TRIALS / f"{record.name}.json").unlink(missing_ok=True)


def records(out: Path, cells: Sequence[Cell]) -> list[Record]:
    """The records of a study in the order of cells and draws.

    Raises:
        UserError: If a record is damaged.
    """
    order = {cell.name: i for i, cell in enumerate(cells)}
    found = [_read(path) for path in (out / TRIALS).glob("*.json")]
    return sorted((one for one in found if one.cell in order), key=lambda one: (order[one.cell], one.ordinal))


def _read(path: Path) -> Record:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data["per_seed"] = tuple(data["per_seed"])
        data["reports"] = tuple((int(step), float(score)) for step, score in data["reports"])
        return Record(**data)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            "the record of a trial is damaged", value=str(path), mend="delete the file: the trial is made again"
        ) from error


def write_results(study: Study, out: Path, found: Sequence[Record]) -> Path:
    """``results.parquet``: a row per trial, a column for each setting (``setting.lr``; empty where a trial has none)."""
    cells = {cell.name: cell for cell in study.cells()}
    names = list(dict.fromkeys(f"setting.{name}" for one in found for name in one.setting))
    more = list(dict.fromkeys(name for one in found for name in one.found))
    rows = [
        {
            "trial": one.name,
            "task": cells[one.cell].task,
            "optimizer": cells[one.cell].optimizer,
            "rule": rule_text(cells[one.cell].optimizer, one.setting) if isinstance(study, BaselineStudy) else None,
            **dict.fromkeys(names),
            **{f"setting.{name}": _cell_value(value) for name, value in one.setting.items()},
            "seeds": list(study.tuning_seeds),
            "score": one.score,
            "per_seed": list(one.per_seed),
            "status": one.status,
            "steps": one.steps,
            "budget": study.budget,
            "seconds": one.seconds,
            "error": one.error,
            **dict.fromkeys(more),
            **one.found,
        }
        for one in found
    ]
    table = pa.Table.from_pylist(_one_type(rows, names))
    return replace_file(out / RESULTS, lambda file: pq.write_table(table, file))


def rule_text(optimizer: str, setting: Mapping[str, Any]) -> str:
    """A classic rule as the command line takes it, ``adam:lr=0.03,beta1=0.9``."""
    return f"{optimizer}:" + ",".join(f"{name}={value:.10g}" for name, value in setting.items())


def _cell_value(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _one_type(rows: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """A choice may mix types, a column may not: such a column becomes text."""
    for name in names:
        types = {type(row[name]) for row in rows if row[name] is not None}
        if len(types) > 1 and not types <= {int, float}:
            for row in rows:
                row[name] = None if row[name] is None else str(row[name])
        elif types == {int, float}:
            for row in rows:
                row[name] = None if row[name] is None else float(row[name])
    return rows
