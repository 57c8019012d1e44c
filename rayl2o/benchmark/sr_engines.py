"""Every engine of symbolic regression that runs here, on the same tables and the same budget, beside the linear engine.

Three targets of S's Table 1, and the published DM-CL-IL and RNNprop-CL-IL where ``RAYL2O_DATA`` has their weights, recorded on
MLP-orig of the embedded digits. Of each front the member of the best validation R2 within the node limit is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rayl2o.benchmark.fronts import Fit, Rows, fitted, worst
from rayl2o.benchmark.row import Row
from rayl2o.benchmark.sr_rules import published
from rayl2o.errors import UserError
from rayl2o.rules.base import Phi, Rule
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.registry import ENGINES, engine, is_available
from rayl2o.symbolic.table1 import table1
from rayl2o.symbolic.tables import record
from rayl2o.tasks.registry import task

NODES = 60
BUDGET = Budget(cpu_s=10.0, max_complexity=NODES)
TARGETS = ("b", "c", "e")
DATA_SEED = 104
SEARCH_SEEDS = (0, 1)
PUBLISHED = ("DM-CL-IL", "RNNprop-CL-IL")
RECORD = DistillConfig(seed=7300)
BASE = "linear"
LONG: Mapping[str, Budget] = MappingProxyType({"operon": Budget(cpu_s=60.0, max_complexity=NODES)})
"""Engines that the budget cuts short, and a larger one, tried on :data:`LONG_ON` too."""
LONG_ON = ("e", "DM-CL-IL")
SEEDLESS = ("linear", "template")
"""Engines that give the same formulas whatever the search seed: fitted once."""


def sr_engines_rows(
    tables: Mapping[str, Rows] | None = None,
    names: Sequence[str] = tuple(ENGINES),
    search_seeds: Sequence[int] = SEARCH_SEEDS,
    budget: Budget = BUDGET,
) -> list[Row]:
    """Worst test R2 and CPU seconds of every engine on every table; ``tables``: None is :func:`default_tables`."""
    rows: list[Row] = []
    able = [name for name in (BASE, *(other for other in names if other != BASE)) if is_available(name)]
    entries = [(name, _title(name), budget) for name in able]
    longer = [(name, f"{name}, {LONG[name].cpu_s:g} CPU s", LONG[name]) for name in able if name in LONG]
    for label, table in (default_tables() if tables is None else tables).items():
        base: float | None = None
        for name, title, most in entries + (longer if label in LONG_ON else []):
            found, failed = _fits(name, table, search_seeds, most)
            rows += _rows(f"{label} {title}", found, failed, base)
            base = worst(_scores(found)) if name == BASE else base
    return rows + [_absent(name) for name in names if not is_available(name)]


def default_tables() -> dict[str, Rows]:
    """By label. The published weights are left out where they are not here."""
    tables = {target: Rows(*table1(target, DATA_SEED)) for target in TARGETS}
    for subject in published():
        if subject.name in PUBLISHED:
            tables[subject.name] = recorded_rows(subject.rule, subject.phi)
    return tables


def recorded_rows(rule: Rule, phi: Phi, config: DistillConfig = RECORD) -> Rows:
    """Rows of a learned rule on MLP-orig of the digits, in the units of those that are fitted, each of fresh runs."""
    tables = record(rule, phi, task("mlp-orig", data="digits"), config).tables
    if tables.test is None:
        raise ValueError("a record of test runs has test rows")
    return Rows(tables.train.data(), tables.val.data(tables.train), tables.test.data(tables.train))


def _fits(name: str, table: Rows, seeds: Sequence[int], budget: Budget) -> tuple[list[Fit], str]:
    """The fits of all seeds, and what went wrong with those that failed."""
    found: list[Fit] = []
    failed = ""
    for seed in seeds[:1] if name in SEEDLESS else seeds:
        try:
            found.append(fitted(engine(name), table, budget, seed))
        except UserError as error:  # one engine that fails takes no other's figures with it
            failed = str(error)
    return found, failed


def _scores(found: Sequence[Fit]) -> list[float]:
    """Test R2 of the member that is read; a front without one explains nothing."""
    members = [fit.chosen(NODES) for fit in found]
    return [-math.inf if member is None else member.r2_test for member in members]


def _rows(label: str, found: Sequence[Fit], failed: str, base: float | None) -> list[Row]:
    value = worst(_scores(found))
    unit = f"R2, worst of {len(found)}" + (f"; a seed failed: {failed}" if failed else "")
    ratio = value / base if base is not None and base > 0 and math.isfinite(value) else None
    seconds = f"{label}: most CPU seconds"
    fall = f"{label}: largest fall of test R2 below a simpler member's"
    return [
        Row(f"{label} <={NODES} nodes", value, unit, ratio, None if ratio is None else BASE),
        Row(f"{label}: best", max(_scores(found), default=math.nan), "R2"),
        Row(seconds, max((fit.cpu_s for fit in found), default=math.nan), "CPU s"),
        Row(fall, max((fit.worst_fall for fit in found), default=math.nan), "R2"),
    ]


def _title(name: str) -> str:
    return name if ENGINES[name].discovers else f"{name} (not discovery)"


def _absent(name: str) -> Row:
    return Row(f"{_title(name)}: not available", math.nan, f"needs {ENGINES[name].needs}")
