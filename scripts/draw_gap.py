"""Draws docs/images/first-order-gap.png from benchmarks/results/first-order-gap.json: ``python scripts/draw_gap.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"(.+?) \((.+?)\).*: (first order|curvature), U = (\d+), step (\d+), (median|lowest).*")
COLORS = {"first order": "tab:blue", "curvature": "tab:orange"}


def draw() -> Figure:
    """A panel per rule and inner step: cosine to the exact gradient against U, medians with a band down to the lowest seed."""
    rows = json.loads((ROOT / "benchmarks/results/first-order-gap.json").read_text(encoding="utf-8"))["rows"]
    found: dict[tuple[str, int], dict[tuple[str, str], dict[int, float]]] = {}
    for row in rows:
        match = ROW.fullmatch(row["name"])
        assert match is not None, row["name"]
        _, weights, credit, unroll, step, which = match.groups()
        found.setdefault((weights, int(step)), {}).setdefault((credit, which), {})[int(unroll)] = row["value"]
    kinds, steps = list(dict.fromkeys(k for k, _ in found)), sorted({s for _, s in found})
    figure = Figure(figsize=(3.2 * len(steps), 2.5 * len(kinds)), layout="constrained")
    for (weights, step), lines in found.items():
        axes = figure.add_subplot(len(kinds), len(steps), 1 + kinds.index(weights) * len(steps) + steps.index(step))
        for credit, color in COLORS.items():
            median, lowest = lines[credit, "median"], lines[credit, "lowest"]
            axes.plot(list(median), list(median.values()), "o-", color=color, label=credit)
            axes.fill_between(list(median), list(lowest.values()), list(median.values()), color=color, alpha=0.2, lw=0)
        axes.axhline(0.0, color="0.6", lw=0.8)
        axes.set(
            xscale="log", ylim=(-1.0, 1.05), title=f"{weights}, from step {step}", xlabel="U, inner steps of the window"
        )
        axes.set_xticks(list(median), [str(u) for u in median])
        axes.minorticks_off()
        if step == steps[0]:
            axes.set_ylabel("cosine to exact")
    figure.axes[0].legend(loc="lower left", frameon=False)
    return figure


if __name__ == "__main__":
    draw().savefig(ROOT / "docs/images/first-order-gap.png", dpi=110)
