"""Learning curves of network and formula side by side, as S, Fig. 4: what matters of an imitation is where it leads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rayl2o.evaluate.drawing import COLOURS, GRID, RC, End, end_labels, plain_log_ticks, svg
from rayl2o.evaluate.front_data import Column

_LOOKS = (
    (COLOURS["learned"][0], "-"),
    (COLOURS["formula"][0], "-"),
    (COLOURS["formula"][1], (0, (5, 2))),
    (COLOURS["formula"][2], (0, (1.5, 1.5))),
)


def trail_figure(columns: Sequence[Column]) -> str | None:
    """SVG: median over the fresh runs of the loss, with the interquartile band; None if no column has one."""
    drawn = [column for column in columns if column.trail]
    if not drawn:
        return None
    with matplotlib.rc_context(dict(RC)):
        figure = Figure(figsize=(4.3, 3.1))
        axes = figure.add_axes((0.135, 0.145, 0.60, 0.84))
        last = []
        for column, (colour, line) in zip(drawn, _LOOKS, strict=False):
            step, low, middle, high = np.array(column.trail, dtype=np.float64).T
            axes.fill_between(step, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(step, middle, color=colour, linestyle=line, linewidth=1.6)
            last.append((column.name, float(middle[-1]), colour))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, max(2.0, *(column.trail[-1][0] for column in drawn)))
        plain_log_ticks(axes)
        axes.set_xlabel("inner step")
        axes.set_ylabel("minibatch loss")
        axes.grid(True, which="major", color=GRID, linewidth=0.7)
        low, high = np.log(axes.get_ylim())
        ends = [End(name, (math.log(y) - low) / (high - low), colour, True) for name, y, colour in last if y > 0]
        end_labels(axes, ends)
        return svg(figure, "trail")
