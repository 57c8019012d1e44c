"""What all figures of a report share: colours, settings of matplotlib, SVG that can stand in a page with others."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

INK, MUTED, GRID = "#1b1f24", "#5b6570", "#e3e6ea"

# Near Okabe and Ito's palette, darkened so that labels can be read on white; dashes repeat what colours say.
COLOURS = MappingProxyType(
    {
        "learned": ("#0072B2", "#332288"),
        "formula": ("#D55E00", "#9A6A00", "#7F2D00"),
        "classic": ("#00805E", "#AA4499", "#6B6B6B", "#7A6C00"),
    }
)
RC = MappingProxyType(
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
class End:
    """A name at the right-hand end of a line: its height there in shares of the axes, its colour."""

    text: str
    height: float
    colour: str
    bold: bool = False


def end_labels(axes: Axes, ends: Sequence[End], gap: float = 0.066) -> None:
    """Names beside the axes, moved apart where they would collide, with a hair line to where they belong."""
    order = sorted(ends, key=lambda end: end.height)
    wanted = np.clip([end.height for end in order], 0.0, 1.0)
    for end, y, spot in zip(order, wanted, apart(wanted, gap) if order else (), strict=True):
        axes.annotate(
            end.text,
            xy=(1, float(y)),
            xytext=(1.045, float(spot)),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=end.colour,
            va="center",
            fontsize=8.5,
            fontweight="bold" if end.bold else "normal",
            annotation_clip=False,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 1},
        )


def plain_log_ticks(axes: Axes) -> None:
    """Decimal labels on log axes; 2 and 5 as well where a decade would stand nearly alone."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    low, high = axes.get_ylim()
    subs = (1.0, 2.0, 5.0) if np.log10(high / low) < 2.5 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


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


def svg(figure: Figure, name: str, **settings: Any) -> str:
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
