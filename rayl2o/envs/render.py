"""The loss of an episode so far, drawn as an RGB array. No GUI, no global state kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import unknown_name

MODES = ("rgb_array",)
_INK, _MUTED, _GRID, _LINE, _WRONG = "#1b1f24", "#5b6570", "#e3e6ea", "#0072B2", "#D55E00"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
}


@dataclass(frozen=True)
class Curve:
    """The losses of an episode.

    Attributes:
        losses: Minibatch losses from step 0 on, in the task's unit; the last may be anything.
        diverged: Whether it ended in divergence.
        horizon: Steps of a whole episode.
        linear_below: Losses of at most this are drawn at it; where some are negative, the axis is linear up to it.
        name: Of the task.
    """

    losses: Sequence[float]
    diverged: bool
    horizon: int
    linear_below: float
    name: str


def check_mode(mode: str | None) -> str | None:
    """The render mode.

    Raises:
        UserError: If there is no such mode.
    """
    if mode is not None and mode not in MODES:
        raise unknown_name("render mode", mode, MODES)
    return mode


def draw(curve: Curve) -> NDArray[np.uint8]:
    """uint8 ``[330, 430, 3]``: the minibatch loss on a logarithmic axis against the step, to the horizon."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    finite = [loss for loss in curve.losses if math.isfinite(loss)]
    signed = any(loss < 0 for loss in finite)
    if not signed:
        finite = [max(loss, curve.linear_below) for loss in finite]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.3, 3.3), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.145, 0.14, 0.81, 0.76))
        axes.plot(range(len(finite)), finite, color=_LINE, linewidth=1.5)
        if finite:
            axes.plot(len(finite) - 1, finite[-1], "o", color=_LINE, markersize=4)
        if signed:
            axes.set_yscale("symlog", linthresh=curve.linear_below)
        elif finite:
            low, high = min(finite), max(finite)
            axes.set_yscale("log")
            axes.set_ylim(low / 1.5, high * 1.5)
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        title = f"{curve.name}, step {max(len(curve.losses) - 1, 0)}{': diverged' if curve.diverged else ''}"
        axes.set_title(title, loc="left", fontsize=9.5, color=_WRONG if curve.diverged else _INK)
        axes.set_xlim(0, curve.horizon)
        axes.set_xlabel("inner step")
        axes.set_ylabel("minibatch loss")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.grid(True, which="major", color=_GRID, linewidth=0.7)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
