"""The report's figures as inline SVG: learning curves, the Pareto front, typeset formulas. No GUI, no global state kept."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from rayl2o.evaluate.report_data import Curve, FrontPoint, Panel, short
from rayl2o.evaluate.runner import WINDOW

INK, MUTED, GRID = "#1b1f24", "#5b6570", "#e3e6ea"

# Near Okabe and Ito's palette, darkened so that labels can be read on white; dashes repeat what colours say.
_COLOURS = MappingProxyType(
    {
        "learned": ("#0072B2", "#332288"),
        "formula": ("#D55E00", "#9A6A00", "#7F2D00"),
        "classic": ("#00805E", "#AA4499", "#6B6B6B", "#7A6C00"),
    }
)
_DASHES = MappingProxyType(
    {"learned": ("",), "formula": ("", "6 2"), "classic": ("5 2", "1.5 1.5", "6 2 1.5 2", "3 1")}
)

_POINTS = 160
_LABEL_LENGTH = 22
_RC = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "rayl2o",
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "mathtext.fontset": "cm",
    }
)


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
        colours, dashes = _COLOURS[kind], _DASHES[kind]
        chosen[label] = Style(colours[place % len(colours)], dashes[place % len(dashes)])
    return chosen


def learning_curves(panel: Panel, style: Mapping[str, Style]) -> str:
    """SVG of a panel: per contender the median over seeds of the mean loss of the last 20 steps, with the interquartile band."""
    with matplotlib.rc_context(dict(_RC)):
        figure = Figure(figsize=(4.3, 3.3))
        axes = figure.add_axes((0.125, 0.14, 0.565, 0.84))
        ends = []
        for curve in panel.curves:
            x, low, middle, high = spread(curve.loss)
            colour = style[curve.label].colour
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(x, middle, color=colour, linestyle=style[curve.label].line, linewidth=1.7)
            ends.append((curve, float(middle[-1])))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, panel.curves[0].loss.shape[1])
        _plain_log_ticks(axes)
        axes.set_xlabel("inner step")
        axes.set_ylabel("minibatch loss")
        axes.grid(True, which="major", color=GRID, linewidth=0.7)
        axes.tick_params(length=3, which="major")
        axes.tick_params(length=1.5, which="minor")
        _label_ends(axes, ends, style)
        return _svg(figure, f"curves {panel.task}")


def spread(loss: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Step, lower quartile, median and upper quartile over seeds of the mean over the last 20 steps (fewer at the start).

    ``loss [K, steps]`` is thinned to at most 160 steps, evenly spaced on a logarithmic axis.
    """
    steps = loss.shape[1]
    sums = np.concatenate([np.zeros((len(loss), 1)), np.cumsum(loss, axis=1)], axis=1)
    at = np.unique(np.geomspace(1, steps, _POINTS).round().astype(np.int64))
    start = np.maximum(at - WINDOW, 0)
    means = (sums[:, at] - sums[:, start]) / (at - start)
    low, middle, high = np.quantile(np.maximum(means, np.finfo(np.float32).tiny), (0.25, 0.5, 0.75), axis=0)
    return at.astype(np.float64), low, middle, high


def _plain_log_ticks(axes: Axes) -> None:
    """Decimal labels on log axes; 2 and 5 as well where a decade would stand nearly alone."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    low, high = axes.get_ylim()
    subs = (1.0, 2.0, 5.0) if np.log10(high / low) < 2.5 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _label_ends(axes: Axes, ends: Sequence[tuple[Curve, float]], style: Mapping[str, Style]) -> None:
    """Names at the right-hand ends of the lines, moved apart where they would collide."""
    low, high = np.log(axes.get_ylim())
    order = sorted(ends, key=lambda end: end[1])
    wanted = np.array([(np.log(y) - low) / (high - low) for _, y in order])
    placed = apart(wanted, 0.066)
    for (curve, _), y, spot in zip(order, wanted, placed, strict=True):
        colour = style[curve.label].colour
        axes.annotate(
            shorten(curve.label),
            xy=(1, y),
            xytext=(1.045, spot),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            va="center",
            fontsize=8.5,
            fontweight="bold" if curve.kind != "classic" else "normal",
            annotation_clip=False,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1},
        )


def shorten(label: str) -> str:
    """A label that fits beside a curve: without settings, and cut where it is too long still."""
    name = short(label)
    return name if len(name) <= _LABEL_LENGTH else name[: _LABEL_LENGTH - 1] + "…"


def apart(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Sorted positions moved as little as is simple so that neighbours are ``gap`` apart, within about 0..1."""
    placed = wanted.copy()
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed -= max(0.0, float(np.mean(placed - wanted)))
    placed[0] = max(placed[0], 0.0)  # below there are the ticks
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    return placed


def front_fit(front: Sequence[FrontPoint]) -> str:
    """SVG of the front: complexity against held-out R2."""
    with matplotlib.rc_context(dict(_RC)):
        figure, axes = _small()
        axes.step([p.complexity for p in front], [p.r2 for p in front], where="post", color=MUTED, linewidth=1)
        _points(axes, [(point, point.r2) for point in front])
        return _svg(figure, "fit")


def front_loss(front: Sequence[FrontPoint], network_loss: float | None) -> str:
    """SVG of the front's members that were run: complexity against closed-loop loss, with the network's as a line."""
    with matplotlib.rc_context(dict(_RC)):
        figure, axes = _small()
        if network_loss is not None:
            colour = _COLOURS["learned"][0]
            axes.axhline(network_loss, color=colour, linewidth=1.3)
            axes.annotate(
                "network", (1, network_loss), xycoords=("axes fraction", "data"), ha="left", va="center",
                xytext=(4, 0), textcoords="offset points", color=colour, fontsize=8.5, annotation_clip=False,
            )  # fmt: skip
        _points(axes, [(point, point.loss) for point in front if point.loss is not None])
        return _svg(figure, "loss")


def _small() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.3, 2.9))
    return figure, figure.add_axes((0.125, 0.155, 0.72, 0.825))


def _points(axes: Axes, points: Sequence[tuple[FrontPoint, float]]) -> None:
    colour = _COLOURS["formula"][0]
    for point, value in points:
        face, size = (colour, 9.0) if point.chosen else ("white", 5.5)
        axes.plot(point.complexity, value, "o", color=colour, markerfacecolor=face, markersize=size, zorder=3)
        if point.chosen:
            axes.annotate(
                "shipped", (point.complexity, value), xytext=(0, 8), textcoords="offset points",
                ha="center", va="bottom", color=colour, fontsize=8.5, fontweight="bold",
            )  # fmt: skip
    axes.set_xlabel("complexity (nodes)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.margins(0.09, 0.17)


def typeset(latex: str, width: int = 68) -> str | None:
    """SVG of a formula by matplotlib's mathtext, sums broken into lines of about ``width`` marks; None if it cannot be drawn."""
    lines = break_lines(latex.replace(r"\frac", r"\dfrac"), width)
    with matplotlib.rc_context({**_RC, "svg.fonttype": "path"}):
        figure = Figure(figsize=(1, 1))
        for i, line in enumerate(lines):
            figure.text(0 if i == 0 else 0.25, -0.42 * i, f"${line}$", fontsize=15, color=INK)
        try:
            return _svg(figure, "formula", bbox_inches="tight", pad_inches=0.04)
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


def _svg(figure: Figure, name: str, **settings: Any) -> str:
    """The figure as an SVG element that can stand in a page with others: own ids, no metadata, no page-wide style, no size."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, **settings)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    prefix = f"s{hashlib.blake2b((name + text).encode(), digest_size=5).hexdigest()}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r"url\(#", f"url(#{prefix}", text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    return re.sub(r"<svg ", '<svg stroke-linejoin="round" ', text, count=1)
