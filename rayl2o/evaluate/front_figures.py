"""Figures of a front against complexity, as in S, Fig. 5: R2 by rows, loss in closed loop with its spread, TPF by signal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from rayl2o.evaluate.drawing import COLOURS, GRID, MUTED, RC, End, end_labels, svg
from rayl2o.evaluate.front_data import FrontPoint, NetworkMarks

ROWS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "r2_train": ("training", "#6B6B6B"),
        "r2": ("validation", "#0072B2"),
        "r2_test": ("test", "#00805E"),
        "r2_stretched": ("stretched", "#AA4499"),
    }
)
"""Which rows an R2 is of, and its colour."""
FLOOR = -0.5
"""No R2 is drawn lower: below 0 a constant does better, and how much better says little."""
LOG_FROM = 20.0
"""Losses that span this factor are drawn on a logarithmic axis."""
_MARKERS = ("o", "s", "^", "D", "P", "X")
_SIGNALS = ("#D55E00", "#0072B2", "#00805E", "#AA4499", "#7A6C00", "#332288")


def front_r2(front: Sequence[FrontPoint]) -> str:
    """SVG: R2 of every member on training, validation, test and stretched rows, as far as they are known."""
    points = _members(front)
    with matplotlib.rc_context(dict(RC)):
        figure, axes, marks = _axes(points)
        lines = {
            name: [
                (p, float(value)) for p in points if (value := getattr(p, name)) is not None and not math.isnan(value)
            ]
            for name in ROWS
        }
        shown = [max(value, FLOOR) for line in lines.values() for _, value in line]
        _limits(axes, shown)
        ends = []
        for name, line in lines.items():
            label, colour = ROWS[name]
            if line:
                _line(axes, [(p, max(value, FLOOR)) for p, value in line], colour, marks)
                ends.append((label, max(line[-1][1], FLOOR), colour, name == "r2_test"))
                low = [p.complexity for p, value in line if value < FLOOR]
                axes.plot(low, [FLOOR] * len(low), "v", color=colour, markersize=8, zorder=4)
        _finish(axes, points, ends)
        return svg(figure, "front R2")


def front_loss(front: Sequence[FrontPoint], network: NetworkMarks) -> str:
    """SVG: mean loss of the members that were run, the least and greatest run as whiskers, the network as a band."""
    points = _members(front)
    ran = [(p, p.loss) for p in points if p.loss is not None and not p.diverged and math.isfinite(p.loss)]
    colour, own = COLOURS["formula"][0], COLOURS["learned"][0]
    with matplotlib.rc_context(dict(RC)):
        figure, axes, marks = _axes(points)
        values = [value for p, mean in ran for value in (mean, *p.losses)]
        values += [] if network.loss is None else [network.loss, *network.losses]
        _limits(axes, values, log=True)
        ends = []
        if network.loss is not None:
            axes.axhline(network.loss, color=own, linewidth=1.3)
            ends.append(("network", network.loss, own, False))
            if network.losses:
                axes.axhspan(min(network.losses), max(network.losses), color=own, alpha=0.09, linewidth=0)
        for point, _ in ran:
            if point.losses:
                spread = (min(point.losses), max(point.losses))
                axes.plot([point.complexity] * 2, spread, color=colour, linewidth=1.1, zorder=2)
        _line(axes, ran, colour, marks)
        if ran:
            ends.append(("formula", ran[-1][1], colour, True))
        lost = [p.complexity for p in points if p.diverged]
        axes.plot(lost, [0.97] * len(lost), "x", color=colour, markersize=7, transform=axes.get_xaxis_transform())
        _finish(axes, points, ends)
        return svg(figure, "front loss")


def front_tpf(front: Sequence[FrontPoint], network: NetworkMarks) -> str:
    """SVG: mean lag that every member looks back, by signal; the network's as dashed lines."""
    points = _members(front)
    names = sorted({name for p in points for name in p.tpf} | set(network.tpf))
    with matplotlib.rc_context(dict(RC)):
        figure, axes, marks = _axes(points)
        _limits(axes, [*(v for p in points for v in p.tpf.values()), *network.tpf.values(), 0.0])
        ends = []
        for i, name in enumerate(names):
            colour = _SIGNALS[i % len(_SIGNALS)]
            line = [(p, p.tpf[name]) for p in points if name in p.tpf]
            _line(axes, line, colour, marks)
            if line:
                ends.append((name, line[-1][1], colour, True))
            if name in network.tpf:
                axes.axhline(network.tpf[name], color=colour, linewidth=1.1, linestyle=(0, (4, 3)))
                ends.append((f"network {name}", network.tpf[name], colour, False))
        _finish(axes, points, ends)
        return svg(figure, "front TPF")


def _members(front: Sequence[FrontPoint]) -> list[FrontPoint]:
    return sorted((point for point in front if not point.refused), key=lambda point: point.complexity)


def _engines(points: Iterable[FrontPoint]) -> dict[str, str]:
    """A marker per engine, in alphabetical order."""
    names = sorted({point.engine for point in points})
    return {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(names)}


def _axes(points: Sequence[FrontPoint]) -> tuple[Figure, Axes, Mapping[str, str]]:
    """Figure, axes, and the mark of each engine, which a legend explains where there is more than one."""
    figure = Figure(figsize=(4.3, 3.1))
    axes = figure.add_axes((0.135, 0.145, 0.60, 0.745))
    engines = _engines(points)
    if len(engines) > 1:
        handles = [
            Line2D([], [], color=MUTED, marker=mark, linestyle="", markersize=5, label=name)
            for name, mark in engines.items()
        ]
        legend = figure.legend(
            handles=handles, loc="upper left", ncols=len(engines), frameon=False, fontsize=8, labelcolor=MUTED,
            bbox_to_anchor=(0.1, 1.015), handletextpad=0.1, columnspacing=1.0,
        )  # fmt: skip
        for label in legend.get_texts():
            label.set_parse_math(False)
    return figure, axes, engines


def _line(axes: Axes, line: Sequence[tuple[FrontPoint, float]], colour: str, marks: Mapping[str, str]) -> None:
    """A thin line through the points, whose marks say which engine found them; the selected one is filled and larger."""
    axes.plot([p.complexity for p, _ in line], [value for _, value in line], color=colour, linewidth=1, zorder=2)
    for point, value in line:
        face, size = (colour, 7.5) if point.chosen else ("white", 4.5)
        mark = marks[point.engine]
        axes.plot(point.complexity, value, mark, color=colour, markerfacecolor=face, markersize=size, zorder=3)


def _limits(axes: Axes, values: Sequence[float], log: bool = False) -> None:
    """Limits with room round all finite values; a logarithmic axis where they span much and one is asked for."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    if log and low > 0 and high / low > LOG_FROM:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.25, high * 1.25)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))


def _finish(axes: Axes, points: Sequence[FrontPoint], ends: Sequence[tuple[str, float, str, bool]]) -> None:
    low, high = axes.get_ylim()
    scale = np.log if axes.get_yscale() == "log" else np.asarray
    heights = [(float(scale(value)) - float(scale(low))) / float(scale(high) - scale(low)) for _, value, _, _ in ends]
    end_labels(axes, [End(name, h, colour, bold) for (name, _, colour, bold), h in zip(ends, heights, strict=True)])
    for point in points:
        if point.chosen:
            axes.axvline(point.complexity, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
            axes.annotate(
                "selected", (point.complexity, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom", color=MUTED, fontsize=8,
            )  # fmt: skip
    axes.set_xlabel("complexity (nodes)")
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(True, color=GRID, linewidth=0.7)
