"""What was measured of distilled rules, as tables: how far back they look, how large their formulas are, how well these fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rayl2o.study.definition import parse
from rayl2o.study.distillation import Distillation
from rayl2o.study.measured import BEST, SOUND, Measured, spread
from rayl2o.study.tables import Block, Column
from rayl2o.symbolic.table import BETAS, LAGS

Beside = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Table (:data:`TPF`, :data:`MC` or :data:`R2`) to heading to label of a row to text: columns that come from elsewhere."""

TPF, MC, R2 = "tpf", "mc", "r2"
MODES = {"paper": f"{LAGS} lags", "ema": f"averages ({len(BETAS)} betas)"}


def measured_blocks(
    document: Mapping[str, Any], found: Sequence[Measured], beside: Beside | None = None
) -> list[Block[Measured]]:
    """The tables; none if nothing was distilled.

    Args:
        document: Of the study.
        found: Of :func:`rayl2o.study.measured.measured`.
        beside: Further columns.
    """
    if not found:
        return []
    asked, rows = parse(document["definition"], document["study"]).distillation, tuple(found)
    more = {kind: tuple(_beside((beside or {}).get(kind, {}))) for kind in (TPF, MC, R2)}
    name: Column[Measured] = Column("rule", False, lambda row: row.label)
    tables = [Block(_tpf_title(asked), (name, *_tpf(asked), *more[TPF]), rows)]
    for mode in asked.modes:
        on = f"formulas over {MODES[mode]} of each signal, engine {asked.engine}"
        mc, fit = tuple(_mc(asked, mode)), tuple(_fit(asked, mode))
        tables.append(Block(f"MC in nodes by largest 1 - R2 on held-out rows; {on}", (name, *mc, *more[MC]), rows))
        tables.append(Block(f"R2 on rows that chose nothing; {on}", (name, *fit, *more[R2]), rows))
    return tables


def _tpf_title(asked: Distillation) -> str:
    steps = " and ".join(str(horizon) for horizon in asked.horizons)
    return f"TPF within {steps} steps, {asked.task.name}, runs of {asked.steps} steps"


def _tpf(asked: Distillation) -> Iterator[Column[Measured]]:
    yield Column("input", False, lambda row: ", ".join(row.inputs))
    for horizon in asked.horizons:
        yield Column(f"TPF, {horizon} steps", True, _tpf_of(horizon))


def _tpf_of(horizon: int) -> Callable[[Measured], str]:
    return lambda row: ", ".join(spread(values, 1) for values in row.tpf(horizon).values())


def _mc(asked: Distillation, mode: str) -> Iterator[Column[Measured]]:
    """Nodes at every error; inputs at the middle one, or the table gets too wide to read."""
    for error in asked.errors:
        yield Column(f"{error:g}", True, _mc_of(mode, error, "nodes"))
    middle = asked.errors[len(asked.errors) // 2]
    yield Column(f"inputs, {middle:g}", True, _mc_of(mode, middle, "inputs"))


def _mc_of(mode: str, error: float, unit: str) -> Callable[[Measured], str]:
    return lambda row: spread(row.complexity(mode, error, unit), 0)


def _fit(asked: Distillation, mode: str) -> Iterator[Column[Measured]]:
    """R2 at every size; buffers at the middle one."""
    for nodes in asked.nodes:
        yield Column(f"≤ {nodes} nodes", True, _best_of(mode, nodes, "r2_test", 3))
    most = max(asked.nodes)
    yield Column(f"sound, ≤ {most}", True, _best_of(mode, most, "r2_test", 3, SOUND))
    middle = asked.nodes[len(asked.nodes) // 2]
    yield Column(f"buffers, ≤ {middle}", True, _best_of(mode, middle, "buffers", 0))
    yield Column("CPU s", True, lambda row: spread(row.cpu_s(mode), 1))


def _best_of(mode: str, nodes: int, what: str, digits: int, among: str = BEST) -> Callable[[Measured], str]:
    return lambda row: spread(row.best(mode, nodes, what, among), digits)


def _beside(columns: Mapping[str, Mapping[str, str]]) -> Iterator[Column[Measured]]:
    for heading, cells in columns.items():
        yield Column(heading, True, _looked_up(cells))


def _looked_up(cells: Mapping[str, str]) -> Callable[[Measured], str]:
    return lambda row: cells.get(row.label, "")
