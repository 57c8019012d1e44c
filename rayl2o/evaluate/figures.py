"""The report's figures as inline SVG: learning curves, typeset formulas. No GUI, no global state kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayl2o.evaluate.drawing import COLOURS, GRID, INK, RC, End, end_labels, plain_log_ticks, svg
from rayl2o.evaluate.report_data import Curve, Panel, short
from rayl2o.unroll.loss_spread import loss_spread

_DASHES = MappingProxyType(
    {"learned": ("",), "formula": ("", "6 2"), "classic": ("5 2", "1.5 1.5", "6 2 1.5 2", "3 1")}
)

_LABEL_LENGTH = 22


@dataclass(frozen=True)
class Style:
    """How a contender is drawn everywhere: a colour, and a dash pattern in points (``""`` is solid)."""

    colour: str
    dash: str

    @property
    def line(self) -> Any:
        """The dash pattern as matplotlib takes it."""
        return (0, tuple(float(x) for x in self.dash.split())) if self.dash else "-"


def styles(kinds: Mapping[str, str]) -> dict[str, Style]:
    """A style per label from labels to kinds, in order: by kind first, then by place within the kind."""
    chosen: dict[str, Style] = {}
    for label, kind in kinds.items():
        place = sum(kinds[other] == kind for other in chosen)
        colours, dashes = COLOURS[kind], _DASHES[kind]
        chosen[label] = Style(colours[place % len(colours)], dashes[place % len(dashes)])
    return chosen


def learning_curves(panel: Panel, style: Mapping[str, Style]) -> str:
    """SVG of a panel: per contender the median over seeds of the mean loss of the last 20 steps, with the interquartile band."""
    with matplotlib.rc_context(dict(RC)):
        figure = Figure(figsize=(4.3, 3.3))
        axes = figure.add_axes((0.125, 0.14, 0.565, 0.84))
        ends = []
        for curve in panel.curves:
            x, low, middle, high = loss_spread(curve.loss)
            colour = style[curve.label].colour
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(x, middle, color=colour, linestyle=style[curve.label].line, linewidth=1.7)
            ends.append((curve, float(middle[-1])))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, panel.curves[0].loss.shape[1])
        plain_log_ticks(axes)
        axes.set_xlabel("inner step")
        axes.set_ylabel("minibatch loss")
        axes.grid(True, which="major", color=GRID, linewidth=0.7)
        axes.tick_params(length=3, which="major")
        axes.tick_params(length=1.5, which="minor")
        _label_ends(axes, ends, style)
        return svg(figure, f"curves {panel.task}")


def _label_ends(axes: Axes, ends: Sequence[tuple[Curve, float]], style: Mapping[str, Style]) -> None:
    """Names at the right-hand ends of the lines."""
    low, high = np.log(axes.get_ylim())
    labels = [
        End(shorten(c.label), float((np.log(y) - low) / (high - low)), style[c.label].colour, c.kind != "classic")
        for c, y in ends
    ]
    end_labels(axes, labels)


def shorten(label: str) -> str:
    """A label that fits beside a curve: without settings, and cut where it is too long still."""
    name = short(label)
    return name if len(name) <= _LABEL_LENGTH else name[: _LABEL_LENGTH - 1] + "…"


def typeset(latex: str, width: int = 68) -> str | None:
    """SVG of a formula by matplotlib's mathtext, sums broken into lines of about ``width`` marks; None if it cannot be drawn."""
    lines = break_lines(latex.replace(r"\frac", r"\dfrac"), width)
    with matplotlib.rc_context({**RC, "svg.fonttype": "path"}):
        figure = Figure(figsize=(1, 1))
        for i, line in enumerate(lines):
            figure.text(0 if i == 0 else 0.25, -0.42 * i, f"${line}$", fontsize=15, color=INK)
        try:
            return svg(figure, "formula", bbox_inches="tight", pad_inches=0.04)
        except ValueError:
            return None


def break_lines(latex: str, width: int) -> list[str]:
    """Cuts a formula before ``+`` and ``-`` outside brackets and braces, so that lines are about ``width`` marks at most."""
    parts, depth = [""], 0
    for token in re.findall(r"\\left|\\right|\\[A-Za-z]+|\\.|.", latex, flags=re.DOTALL):
        depth += (token in "([{") - (token in ")]}") if len(token) == 1 else 0
        if depth == 0 and token in ("+", "-") and parts[-1].endswith(" "):
            parts.append("")
        parts[-1] += token
    lines = [parts[0]]
    for part in parts[1:]:
        if _marks(lines[-1]) + _marks(part) > width and lines[-1].strip():
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines if line.strip()]


def _marks(latex: str) -> int:
    """About how many characters wide a piece of LaTeX is."""
    return len(
        re.sub(r"[{}^_\s]", "", re.sub(r"\\(mathrm|left|right|tilde|,)", "", re.sub(r"\\[A-Za-z]+", "x", latex)))
    )
