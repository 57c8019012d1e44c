"""A study at a glance: the losses of every arm, and what the cosine of its meta-gradient has to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rayl2o.checkpoint import replace_file
from rayl2o.evaluate.drawing import GRID, INK, MUTED
from rayl2o.study.results import Row, measures_cosines, rows
from rayl2o.study.tables import Block, blocks

COLOURS = ("#0072B2", "#D55E00", "#00805E", "#AA4499", "#9A6A00", "#332288")
_RC = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": MUTED,
        "ytick.color": INK,
    }
)
_ROW, _PANEL, _DPI = 0.24, 3.6, 130
_EDGE = 0.12
"""Share of the axis's decades beyond the outermost points."""


def save_figures(document: Mapping[str, Any], folder: Path, stem: str) -> list[Path]:
    """Writes ``folder/STEM.png``, and ``folder/STEM-cosine.png`` if the study measured cosines; none if there are no rows."""
    tables = blocks(document, rows(document))
    axis = next(iter(document["definition"]["reference"]), "")
    if not tables:
        return []
    found = {stem: study_figure(tables, axis), f"{stem}-cosine": cosine_figure(tables, axis)}
    return [save_png(figure, folder / f"{name}.png") for name, figure in found.items() if figure is not None]


def study_figure(tables: Sequence[Block[Row]], colour_by: str = "") -> Figure:
    """One panel per table, rows shared: mean loss on a logarithmic axis.

    Args:
        tables: Of :func:`rayl2o.study.tables.blocks`.
        colour_by: Axis whose levels are told apart by colour; empty for one colour.
    """
    names = list(dict.fromkeys(_name(row) for block in tables for row in block.rows))
    height = 1.15 + _ROW * max(len(names), 4)
    colours = _colours(tables, colour_by)
    with matplotlib.rc_context(dict(_RC)):
        figure = Figure(figsize=(2.2 + _PANEL * len(tables), height), layout="constrained")
        panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
        for axes, block in zip(panels, tables, strict=True):
            _panel(axes, block, names, colours, colour_by)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure


def cosine_figure(tables: Sequence[Block[Row]], axis: str) -> Figure | None:
    """Cosine of an arm's own meta-gradient to the exact one against its mean loss; None if the study has no such cosines.

    Args:
        tables: Of :func:`rayl2o.study.tables.blocks`; one panel each.
        axis: Arms that differ in its level only are joined by a line: where it falls to the right, a truer gradient trained
            the better optimizer.
    """
    if not measures_cosines([row for block in tables for row in block.rows]):
        return None
    with matplotlib.rc_context(dict(_RC)):
        figure = Figure(figsize=(1.6 + _PANEL * len(tables), 3.6), layout="constrained")
        panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
        for axes, block in zip(panels, tables, strict=True):
            _join(axes, block, axis)
        panels[0].set_ylabel("mean loss over the horizon")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    return figure


def _join(axes: Axes, block: Block[Row], axis: str) -> None:
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in block.rows:
        if row.own_cosine is not None:
            others = " / ".join(level for name, level in row.levels.items() if name != axis)
            groups.setdefault(others, []).append((row.own_cosine, row.mean))
    for i, (label, points) in enumerate(groups.items()):
        x, y = zip(*sorted(points), strict=True)
        colour, dash = COLOURS[i % len(COLOURS)], "-" if i < len(COLOURS) else "--"
        axes.plot(x, y, f"o{dash}", color=colour, markersize=4.5, linewidth=1.2, label=label or "all")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major", color=GRID, linewidth=0.7)
    axes.set_xlabel("cosine of the meta-gradient to the exact one")
    axes.set_title(_two_lines(block.title), fontsize=9, color=INK, loc="left")


def _two_lines(title: str) -> str:
    return title.replace(", after", ",\nafter")


def save_png(figure: Figure, path: Path) -> Path:
    """Writes a figure, as a whole or not at all. Raises UserError if the disk refuses."""

    def write(file: BinaryIO) -> None:
        with matplotlib.rc_context(dict(_RC)):
            figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})

    return replace_file(path, write)


def _name(row: Row) -> str:
    return " / ".join(row.levels.values()) if row.levels else row.label.partition(":")[0]


def _colours(tables: Sequence[Block[Row]], axis: str) -> Mapping[str, str]:
    levels = dict.fromkeys(row.levels[axis] for block in tables for row in block.rows if axis in row.levels)
    return {level: COLOURS[i % len(COLOURS)] for i, level in enumerate(levels)}


def _panel(axes: Axes, block: Block[Row], names: Sequence[str], colours: Mapping[str, str], axis: str) -> None:
    for row in block.rows:
        y = names.index(_name(row))
        colour = colours.get(row.levels.get(axis, ""), COLOURS[0]) if row.levels else MUTED
        axes.plot(row.points, [y] * len(row.points), "o", color=colour, markersize=4.5, alpha=0.55, markeredgewidth=0)
        axes.plot([row.mean] * 2, [y - 0.33, y + 0.33], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.set_xscale("log")
    values = [value for row in block.rows for value in (*row.points, row.mean)]
    spread = max(max(values) / min(values), 2.0) ** _EDGE
    axes.set_xlim(min(values) / spread, max(values) * spread)
    few = max(values) / min(values) < 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("mean loss over the horizon")
    axes.set_title(_two_lines(block.title), fontsize=9, color=INK, loc="left")
