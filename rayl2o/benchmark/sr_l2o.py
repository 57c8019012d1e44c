"""Distillation of real learned optimizers: R2 against nodes, and every column in closed loop on fresh seeds beside tuned Adam.

The published ones are distilled and run on MNIST, on which they were trained, our own on the embedded digits. Digits are learned
by heart within some hundred steps: log losses beyond 200 steps are then of rounding size and spread over many units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rayl2o.benchmark.row import Row
from rayl2o.benchmark.sr_rules import Subject, own, published
from rayl2o.evaluate.runner import Curves, log_loss, run
from rayl2o.evaluate.search_space import SPACES
from rayl2o.evaluate.tuning import tune
from rayl2o.rules.base import Phi, Rule
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.distill import Distillation, distill
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.registry import engine
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.guards import STRETCH_FACTOR
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.search import search
from rayl2o.symbolic.selection import EXTENSIONS, Job, Score, run_job
from rayl2o.symbolic.table import Table
from rayl2o.symbolic.tables import Tables
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task

TASKS = ("mlp-orig", "mlp-relu")
"""The first one is distilled on; the other is seen in no stage."""
MARKS = (200, 1000, 2000)
SEEDS = tuple(range(41_000, 41_005))
TUNING_SEEDS = (1, 2, 3)
CONFIGS = {
    "digits": DistillConfig(seed=31),
    # A step of a large LSTM on 15,910 coordinates costs 16 ms: fewer runs, and a coarser grid of gains.
    "mnist": DistillConfig(
        seed=31, collect=2, validate=3, test=2, select=2, report=1, per_tensor=32, gains=(0.7, 3.2, 5)
    ),
}
"""Formulas are selected over 1,000 steps and run over 2,000."""
GUARD_SEEDS = tuple(range(10))
LIMITS = {True: {10: 0.95, 25: 0.98, 60: None}, False: {10: 0.55, 25: None, 60: None}}
"""Nodes to the goal of held-out R2, for RP and DM."""
NEAR = {True: 0.25, False: 0.3}
"""Goal: how far from the network's log loss the distilled formula may be."""
CPU_GOAL = 60.0
EXPLODED = 100.0
"""Times the clamp, at inputs three times as large on test rows (the guard looks at training rows)."""
COLLAPSED = 0.1
"""A member of a front whose R2 on test rows is so much below that of a simpler one has collapsed."""


def l2o_rows() -> list[Row]:
    """All rules: an hour on one core where the published ones are at hand, a quarter of one where not."""
    found: list[Row] = []
    rivals: set[str] = set()
    for subject in (*published(), *own()):
        families = families_of(subject.data)
        if subject.data not in rivals:
            found += adam_rows(families, subject.data)
            rivals.add(subject.data)
        found += subject_rows(subject, families, CONFIGS[subject.data])
    return found


def families_of(data: str) -> dict[str, TaskFamily]:
    """The tasks on a data set."""
    return {name: task(name, data=data) for name in TASKS}


def adam_rows(families: Mapping[str, TaskFamily], data: str, steps: int = MARKS[-1], draws: int = 40) -> list[Row]:
    """Adam, tuned on each task for the mean loss over the horizon."""
    found = []
    for name, family in families.items():
        tuned = tune(SPACES["adam"], family, TUNING_SEEDS, steps, scoring_seeds=SEEDS, task=name, draws=draws)
        curves = run(tuned.rule, {}, family, SEEDS, steps)
        found += [
            _loss_row(f"tuned Adam on {data}", name, "adam", mark, curves, None) for mark in MARKS if mark <= steps
        ]
    return found


def subject_rows(
    subject: Subject,
    families: Mapping[str, TaskFamily],
    config: DistillConfig,
    guard_seeds: Sequence[int] = GUARD_SEEDS,
    steps: int = MARKS[-1],
) -> list[Row]:
    """One rule: fits, guards, closed loop."""
    kept: list[Tables] = []
    family = families[TASKS[0]]
    found = distill(subject.rule, subject.phi, family, config, keep=kept.append)
    rows = fit_rows(subject, found)
    rows += guard_rows(subject, kept[0], config, guard_seeds)
    rows.append(thread_row(subject, kept[0], config))
    return rows + closed_loop_rows(subject, found, families, config, steps)


def fit_rows(subject: Subject, found: Distillation) -> list[Row]:
    """R2 on rows that chose nothing, at several sizes; what the selected one is; CPU seconds of fit and selection."""
    rows = []
    for nodes, goal in LIMITS[subject.is_rp].items():
        best = within(found.front, nodes)
        if best is not None:
            against = None if goal is None else f"goal {goal:g}"
            rows.append(Row(f"{subject.name}: R2 at <= {nodes} nodes", best.r2, "R2", goal and best.r2 / goal, against))
    chosen = found.selected
    cpu = found.cpu_seconds["fit"] + found.cpu_seconds["select"]
    rows.append(Row(f"{subject.name}: nodes of the selected formula", chosen.complexity, f"nodes ({chosen.engine})"))
    rows.append(Row(f"{subject.name}: its R2", chosen.r2, f"R2 (late {chosen.r2_late:.2f})"))
    rows.append(Row(f"{subject.name}: its state", chosen.buffers, "floats per parameter"))
    rows.append(Row(f"{subject.name}: fit and selection", cpu, "CPU s", CPU_GOAL / cpu, f"goal {CPU_GOAL:g} CPU s"))
    return rows


def within(front: Front, nodes: int) -> Candidate | None:
    """The best member of at most so many nodes by validation rows."""
    return max((c for c in front.candidates if c.complexity <= nodes), key=lambda c: c.r2_val, default=None)


def guard_rows(subject: Subject, tables: Tables, config: DistillConfig, seeds: Iterable[int]) -> list[Row]:
    """Over search seeds: fronts with a member that collapses on test rows or explodes on stretched ones; the spread of R2."""
    bad, best = 0, []
    for seed in seeds:
        front = search(tables, engine(config.engine, config.engine_settings), config.budget, (seed,)).front
        bad += _falls_apart(front, tables.test or tables.val)
        top = within(front, config.budget.max_complexity)
        best.append(float("-inf") if top is None else top.r2)
    spread = f"R2 of the largest member, worst of {len(best)} search seeds (best {max(best):.3f})"
    return [
        Row(f"{subject.name}: fronts that collapse or explode", bad, f"of {len(best)} search seeds"),
        Row(f"{subject.name}: largest member", min(best), spread),
    ]


def thread_row(subject: Subject, tables: Tables, config: DistillConfig) -> Row:
    """Whether two threads, in torch and in BLAS, and the islands in reverse order find the front that one thread finds."""

    def backwards(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [function(item) for item in reversed(list(items))][::-1]

    chosen, threads = engine(config.engine, config.engine_settings), torch.get_num_threads()
    fronts = []
    for count, pmap in ((1, map), (2, backwards)):
        torch.set_num_threads(count)
        try:
            with threadpool_limits(count):
                fronts.append(search(tables, chosen, config.budget, (0,), pmap).front)
        finally:
            torch.set_num_threads(threads)
    return Row(f"{subject.name}: fronts equal at 1 and 2 threads", float(fronts[0] == fronts[1]), "1 is yes")


def _falls_apart(front: Front, test: Table) -> bool:
    """Whether a member collapses on rows that chose nothing, or answers to 3x inputs with what no clamp should have to hold."""
    best = -np.inf
    for member in front.candidates:
        far = member.expression.evaluate({o: STRETCH_FACTOR * x for o, x in test.columns().items()})
        if not member.r2 > best - COLLAPSED or not float(far.abs().max()) <= EXPLODED * member.clamp:
            return True
        best = max(best, member.r2)
    return False


def closed_loop_rows(
    subject: Subject,
    found: Distillation,
    families: Mapping[str, TaskFamily],
    config: DistillConfig,
    steps: int = MARKS[-1],
) -> list[Row]:
    """Log losses on fresh seeds, every column; the distilled formula's distance from the network, the worst one."""
    gain = network_gain(subject, Runs(families[TASKS[0]], config.seed, "select", config.select), config)
    columns: dict[str, tuple[Rule, Phi]] = {
        "network": (subject.rule, subject.phi),
        f"network x {gain:.3g}": (with_gain(subject.rule, gain), subject.phi),
    }
    for name in ("distilled", "gained", "tuned"):
        variant = getattr(found, name)
        if variant is not None:
            columns[name] = variant.rule, variant.rule.init_phi(torch.Generator())
    rows, far, lost = [], [], 0
    for task_name, family in families.items():
        curves = {name: run(rule, phi, family, SEEDS, steps) for name, (rule, phi) in columns.items()}
        for mark in (mark for mark in MARKS if mark <= steps):
            rows += [_loss_row(subject.name, task_name, n, mark, c, curves["network"]) for n, c in curves.items()]
            far.append(_mean_log(curves["distilled"], mark) - _mean_log(curves["network"], mark))
        lost += sum(
            status != "ok" for name, c in curves.items() if not name.startswith("network") for status in c.status
        )
    goal = NEAR[subject.is_rp]
    worst = max(far)
    return [
        *rows,
        Row(f"{subject.name}: distilled less network, worst of {len(far)}", worst, "ln loss", None, f"goal {goal:g}"),
        Row(f"{subject.name}: formula runs that diverged", lost, "runs"),
    ]


def with_gain(rule: Rule, gain: float) -> Rule:
    """A DM or RNNprop whose displacement is multiplied."""
    learned: Any = rule
    scaled: Rule = replace(learned, output_scale=learned.output_scale * gain)
    return scaled


def network_gain(subject: Subject, runs: Runs, config: DistillConfig) -> float:
    """The gain that serves the network best on the runs on which formulas are selected: a grid, extended at its edges."""
    low, high, points = config.gains
    ratio = (high / low) ** (1 / (points - 1))
    grid = sorted({1.0, *(low * ratio**i for i in range(points))})
    return best_gain(
        lambda gain: run_job(Job(with_gain(subject.rule, gain), subject.phi, runs, config.horizon)), grid, ratio
    )


def best_gain(score: Callable[[float], Score], grid: Sequence[float], ratio: float) -> float:
    """The gain of the lowest mean loss among those without a divergence; 1 if there is none."""
    tried = {gain: score(gain) for gain in grid}

    def best() -> float:
        return min((g for g in tried if not tried[g].diverged), key=lambda g: tried[g].mean_loss, default=1.0)

    for _ in range(EXTENSIONS):
        centre = best()
        if min(tried) < centre < max(tried):
            break
        outwards = ratio if centre == max(tried) else 1 / ratio
        tried[centre * outwards] = score(centre * outwards)
    return best()


def _mean_log(curves: Curves, mark: int) -> float:
    return float(np.mean(log_loss(curves, mark)))


def _loss_row(subject: str, task_name: str, column: str, mark: int, curves: Curves, rival: Curves | None) -> Row:
    """The ratio is of geometric mean losses: above 1 where the column is better than the network."""
    values = log_loss(curves, mark)
    ratio = None if rival is None else float(np.exp(_mean_log(rival, mark) - values.mean()))
    return Row(
        f"{subject}: {task_name} {mark} {column}",
        float(values.mean()),
        f"ln loss (sd {values.std(ddof=1):.2f})",
        ratio,
        None if rival is None else "network",
    )
