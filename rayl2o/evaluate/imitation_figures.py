"""Figures of network beside formula: the update against one current input (S, Fig. 3), and along recorded gradients."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rayl2o.evaluate.drawing import COLOURS, GRID, MUTED, RC, End, end_labels, svg
from rayl2o.evaluate.front_data import MappingView, TraceView

NETWORK, FORMULA = COLOURS["learned"][0], COLOURS["formula"][0]


def mapping_figure(curve: MappingView) -> str:
    """SVG: median update of network and formula over the recorded states, with the interquartile bands."""
    with matplotlib.rc_context(dict(RC)):
        figure = Figure(figsize=(4.3, 3.1))
        axes = figure.add_axes((0.175, 0.145, 0.60, 0.84))
        for band, colour, line in ((curve.network, NETWORK, "-"), (curve.formula, FORMULA, (0, (5, 2)))):
            axes.fill_between(curve.x, band.low, band.high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(curve.x, band.middle, color=colour, linestyle=line, linewidth=1.7)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.set_xlim(curve.x[0], curve.x[-1])
        _small_numbers(axes)
        low, high = axes.get_ylim()
        ends = [
            End(name, (band.middle[-1] - low) / (high - low), colour, True)
            for name, band, colour in (("network", curve.network, NETWORK), ("formula", curve.formula, FORMULA))
            if math.isfinite(band.middle[-1])
        ]
        end_labels(axes, ends)
        axes.set_xlabel(f"{curve.input} now" + (f" ({curve.unit})" if curve.unit else ""), parse_math=False)
        axes.set_ylabel("update")
        axes.grid(True, color=GRID, linewidth=0.7)
        return svg(figure, f"mapping {curve.input}")


def trace_figure(trace: TraceView) -> str:
    """SVG: updates of network and formula at one coordinate, a panel for each window with a scale of its own.

    Late updates are often a hundred times smaller than early ones: on one scale they would be a line at 0.
    """
    with matplotlib.rc_context(dict(RC)):
        figure = Figure(figsize=(4.3, 2.5))
        count = max(len(trace.windows), 1)
        left, right, gap = 0.165, 0.955, 0.15
        width = (right - left - gap * (count - 1)) / count
        for i, window in enumerate(trace.windows):
            axes = figure.add_axes((left + i * (width + gap), 0.18, width, 0.71))
            steps = np.arange(window.start, window.start + len(window.network))
            axes.axhline(0, color=MUTED, linewidth=0.6)
            axes.plot(steps, window.network, color=NETWORK, linewidth=1.3)
            axes.plot(steps, window.formula, color=FORMULA, linewidth=1.2, linestyle=(0, (4, 1.6)))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
            axes.set_xlabel("inner step")
            axes.grid(True, color=GRID, linewidth=0.7)
            _small_numbers(axes)
            if i == 0:
                axes.set_ylabel("update")
                _names(axes)
        return svg(figure, f"trace {trace.tensor}")


def _names(axes: Axes) -> None:
    for x, name, colour in ((0.0, "network", NETWORK), (0.45, "formula", FORMULA)):
        axes.annotate(
            name, (x, 1.03), xycoords="axes fraction", color=colour, fontsize=8.5, fontweight="bold", va="bottom"
        )


def _small_numbers(axes: Axes) -> None:
    """Plain labels of few digits: updates are of the order of 0.01, or of 1e-6."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.3g}"))
