"""The best setting of every cell: chosen on the tuning seeds, scored on others, written as presets that can be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rayl2o.checkpoint import replace_file
from rayl2o.cluster.study_base import Cell, Study
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy
from rayl2o.cluster.study_records import PRUNED, RESULTS, RUNS, Record, rule_text
from rayl2o.cluster.study_space import OPTIMIZERS, on_edge
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.cluster.symbolic_scoring import TUNED, Comparison, compared, origin
from rayl2o.cluster.trials import digest
from rayl2o.config import dump as dump_run
from rayl2o.evaluate.pmap import ParallelMap
from rayl2o.evaluate.runner import Contender, mean_loss, run, runs
from rayl2o.evaluate.statistics import Interval, mean_interval
from rayl2o.folder import trained_rule
from rayl2o.symbolic.engines.preset import dump_preset
from rayl2o.unroll.segment import DIVERGED

BEST_YAML, BEST_JSON = "best.yaml", "best.json"


@dataclass(frozen=True)
class Best:
    """The best of a cell.

    Attributes:
        task, optimizer: What was tuned on what (meta-training: the kind of the learned rule; distillation: the engine).
        setting: The chosen values; empty if no trial finished.
        rule: A classic rule as the command line takes it; empty for the other kinds.
        trial: Name of the chosen trial.
        tuning_loss: Mean loss over horizon and tuning seeds, or the distillation's metric, by which it was chosen; optimistic.
        scored: The same on the scoring seeds (and fits) with its interval; None if no trial finished.
        diverged: Scoring runs that diverged.
        on_edge: Settings at the edge of their range: a wider one might do better.
        trials, pruned, failed: How many were tried, stopped early as the worse ones, and failed.
        compared: An engine's setting beside the engine's default and the linear engine; None for the other kinds.
    """

    task: str
    optimizer: str
    setting: Mapping[str, Any]
    rule: str
    trial: str
    tuning_loss: float | None
    scored: Interval | None
    diverged: int
    on_edge: tuple[str, ...]
    trials: int
    pruned: int
    failed: int
    compared: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data; ``compared`` only where there is one."""
        scored = None if self.scored is None else dict(vars(self.scored))
        known = {**vars(self), "setting": dict(self.setting), "on_edge": list(self.on_edge), "scored": scored}
        del known["compared"]
        return known if self.compared is None else {**known, "compared": self.compared.to_json()}


def choose(cell: Cell, found: Sequence[Record]) -> Record | None:
    """The finished trial of a cell with the least score; the earlier one of equals."""
    finished = [one for one in found if one.cell == cell.name and one.finished and one.score is not None]
    return min(finished, key=lambda one: one.score or 0.0, default=None)


def best_of(
    study: Study,
    out: Path,
    found: Sequence[Record],
    pmap: ParallelMap = map,
    tell: Callable[[str], None] | None = None,
) -> list[Best]:
    """The best of every cell, scored; in the order of the cells.

    Args:
        study, out, found: The study, its folder, its records.
        pmap: Spreads the scoring of baselines.
        tell: Told what is being done, where scoring takes long.
    """
    chosen = {cell.name: choose(cell, found) for cell in study.cells()}
    known = {name: one for name, one in chosen.items() if one is not None}
    if isinstance(study, BaselineStudy):
        scored = _score_baselines(study, known, pmap)
    elif isinstance(study, SymbolicStudy):
        return [_best_engine(study, out, cell, chosen[cell.name], found, tell) for cell in study.cells()]
    else:
        assert isinstance(study, TrainingStudy)
        scored = {name: _score_training(study, one, out / RUNS) for name, one in known.items()}
    return [_best(study, cell, chosen[cell.name], scored.get(cell.name), found) for cell in study.cells()]


_Scored = tuple[Interval | None, int]


def _best(study: Study, cell: Cell, one: Record | None, scored: _Scored | None, found: Sequence[Record]) -> Best:
    own = [record for record in found if record.cell == cell.name]
    classic = one is not None and isinstance(study, BaselineStudy)
    return Best(
        cell.task,
        cell.optimizer,
        {} if one is None else one.setting,
        rule_text(cell.optimizer, one.setting) if classic and one is not None else "",
        "" if one is None else one.name,
        None if one is None else one.score,
        None if scored is None else scored[0],
        0 if scored is None else scored[1],
        () if one is None else on_edge(cell.dimensions, one.setting),
        len(own),
        sum(record.status == PRUNED for record in own),
        sum(record.failed for record in own),
    )


def _best_engine(
    study: SymbolicStudy,
    out: Path,
    cell: Cell,
    one: Record | None,
    found: Sequence[Record],
    tell: Callable[[str], None] | None,
) -> Best:
    if one is None:
        return _best(study, cell, None, None, found)
    beside = compared(study, out, one.setting, tell)
    diverged = sum(fit.diverged for fit in beside[TUNED].fits)
    return replace(_best(study, cell, one, (beside[TUNED].metric, diverged), found), compared=beside)


def _score_baselines(study: BaselineStudy, chosen: Mapping[str, Record], pmap: ParallelMap) -> dict[str, _Scored]:
    cells = {cell.name: cell for cell in study.cells() if cell.name in chosen}
    contenders = {
        name: [
            Contender(cell.name, OPTIMIZERS[cell.optimizer].make(**chosen[cell.name].setting))
            for cell in cells.values()
            if cell.task == name
        ]
        for name in study.tasks
    }
    families = {name: study.family(name) for name in study.tasks}
    done = runs(contenders, families, study.scoring_seeds, study.horizon, pmap=pmap)
    return {one.rule: (mean_interval(mean_loss(one.curves)), one.curves.status.count(DIVERGED)) for one in done}


def _score_training(study: TrainingStudy, one: Record, folder: Path) -> _Scored:
    """Seeds are the units of the interval; each is the mean over the rules of all meta-seeds."""
    family = study.config(one.setting, study.meta_seeds[0]).make_family()
    rules = [trained_rule(folder / digest(one.setting) / f"seed-{seed}") for seed in study.meta_seeds]
    curves = [run(rule.rule, rule.phi, family, study.scoring_seeds, study.horizon) for rule in rules]
    per_seed = np.mean([mean_loss(one) for one in curves], axis=0)
    return mean_interval(per_seed), sum(one.status.count(DIVERGED) for one in curves)


def write_best(study: Study, out: Path, best: Sequence[Best]) -> None:
    """``best.json`` with everything known of the winners, ``best.yaml`` to use them.

    The YAML of baselines names the rule for every task and optimizer; that of a meta-training is a config for ``rayl2o train``,
    that of a distillation a preset for ``rayl2o distill --engine``.
    """
    said = {
        "kind": study.kind,
        "horizon": study.horizon,
        "tuning_seeds": list(study.tuning_seeds),
        "scoring_seeds": list(study.scoring_seeds),
        "draws": study.draws,
        "search": study.search.kind,
        "best": [one.to_json() for one in best],
    }
    replace_file(out / BEST_JSON, lambda file: file.write(json.dumps(said, indent=1).encode()))
    replace_file(out / BEST_YAML, lambda file: file.write(_text(study, best).encode()))


def _text(study: Study, best: Sequence[Best]) -> str:
    if isinstance(study, TrainingStudy):
        return _preset(study, best[0])
    return _engine_preset(study, best[0]) if isinstance(study, SymbolicStudy) else _rules(study, best)


def _rules(study: Study, best: Sequence[Best]) -> str:
    lines = [
        f"# Chosen on seeds {list(study.tuning_seeds)} for the mean loss over {study.horizon} steps, {study.draws} draws each.",
        f"# All trials: {RESULTS}. Use: rayl2o evaluate RULE... --task TASK",
    ]
    for task in dict.fromkeys(one.task for one in best):
        lines.append(f"{task}:")
        own = [one for one in best if one.task == task and one.rule]
        lines += [f'  {one.optimizer}: "{one.rule}"' + _edge_comment(one) for one in own]
    return "\n".join(lines) + "\n"


def _preset(study: TrainingStudy, best: Best) -> str:
    config = study.config(best.setting, study.meta_seeds[0])
    chosen = ", ".join(f"{name}={json.dumps(value)}" for name, value in best.setting.items())
    return f"# Chosen on seeds {list(study.tuning_seeds)}: {chosen}{_edge_comment(best)}\n{dump_run(config)}"


def _engine_preset(study: SymbolicStudy, best: Best) -> str:
    assert best.compared is not None  # a study without a finished trial has raised before
    verdict = "better" if best.compared.beats_default else "no better"
    summary = f"{best.optimizer} tuned for {study.metric} on {study.task}: {verdict} than its default on seeds that chose nothing"
    preset = replace(study.preset(best.setting), origin=origin(study, best.compared))
    return dump_preset(preset, summary + _edge_comment(best))


def _edge_comment(best: Best) -> str:
    return f"   # at the edge of its range: {', '.join(best.on_edge)}" if best.on_edge else ""
