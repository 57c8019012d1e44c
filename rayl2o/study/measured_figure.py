"""How well formulas of growing size say what trained rules do (paper S, Fig. 5 left): a line per arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayl2o.evaluate.drawing import GRID, INK, RC
from rayl2o.study.figures import COLOURS, save_png
from rayl2o.study.measured import Measured, measured
from rayl2o.study.measured_tables import MODES

_WIDTH, _HEIGHT = 4.4, 3.4


def save_measured_figure(document: Mapping[str, Any], folder: Path, stem: str) -> list[Path]:
    """Writes ``folder/STEM-formulas.png`` if a trained rule was distilled."""
    arms = [one for one in measured(document) if one.seeds]
    if not arms:
        return []
    figure = formulas_figure(arms, document["definition"]["distillation"]["modes"])
    return [save_png(figure, folder / f"{stem}-formulas.png")]


def formulas_figure(arms: Sequence[Measured], modes: Sequence[str]) -> Figure:
    """A panel per set of operands: R2 on rows that chose nothing against nodes, mean over meta-seeds, their range shaded."""
    with matplotlib.rc_context(dict(RC)):
        figure = Figure(figsize=(1.6 + _WIDTH * len(modes), _HEIGHT), layout="constrained")
        panels = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
        for axes, mode in zip(panels, modes, strict=True):
            _panel(axes, arms, mode)
        panels[0].set_ylabel("R2, other runs")
        panels[0].set_ylim(0.0, 1.0)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    return figure


def best_by_size(front: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> NDArray[np.float64]:
    """R2 of the largest formula of at most so many nodes, NaN below the smallest one."""
    found = np.full(len(sizes), np.nan)
    for line in front:
        found[np.asarray(sizes) >= line["nodes"]] = np.nan if line["r2_test"] is None else line["r2_test"]
    return found


def _panel(axes: Axes, arms: Sequence[Measured], mode: str) -> None:
    fronts = [[record["searches"][mode]["front"] for record in arm.records] for arm in arms]
    sizes = range(1, max((line["nodes"] for group in fronts for front in group for line in front), default=1) + 1)
    for i, (arm, group) in enumerate(zip(arms, fronts, strict=True)):
        curves = np.array([best_by_size(front, sizes) for front in group])
        whole = np.isfinite(curves).all(axis=0)
        shown, colour = np.asarray(sizes)[whole], COLOURS[i % len(COLOURS)]
        low, high = curves[:, whole].min(axis=0), curves[:, whole].max(axis=0)
        axes.fill_between(shown, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.step(shown, curves[:, whole].mean(axis=0), where="post", color=colour, linewidth=1.4, label=arm.label)
    axes.grid(True, which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("nodes")
    axes.set_title(f"formulas over {MODES[mode]}", fontsize=9, color=INK, loc="left")
