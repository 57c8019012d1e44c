"""Writes the tables of docs/symbolic-regression.md from the committed results of ``sr-table1`` and ``sr-engines``.

``python scripts/write_regression_page.py``; a result is ``benchmarks/results/NAME.json``, as ``benchmarks/run.py NAME`` wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayl2o.benchmark.sr_engines import NODES
from rayl2o.benchmark.sr_table1 import PAPER, READINGS, Reading

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "symbolic-regression.md", ROOT / "benchmarks" / "results"
FALL = ": largest fall of test R2 below a simpler member's"
CHECKS = ("members", "largest", "fronts", "goals")
"""How the names begin of rows that are no R2."""
Figures = Mapping[str, Mapping[str, Any]]


def figures(name: str) -> Figures:
    """The rows of a committed result, by name."""
    rows = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return {row["name"]: row for row in rows}


def page() -> str:
    """The whole page as it should be."""
    known, engines = figures("sr-table1"), figures("sr-engines")
    text = PAGE.read_text(encoding="utf-8")
    for name, table in (
        ("sr-table1", _known(known)),
        ("sr-table1 checks", _checks(known)),
        ("sr-engines", _of(engines)),
    ):
        block = f"<!-- {name}: written by scripts/write_regression_page.py -->\n{table}\n<!-- end of {name} -->"
        text, count = re.subn(rf"<!-- {name}: .*?<!-- end of {name} -->", lambda _, b=block: b, text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the page must have one place for {name}")
    return text


def _known(rows: Figures) -> str:
    lines = [
        "| table | nodes allowed | goal | worst R2 | median | best | nodes read, at most | paper's R2 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_reading(reading, rows) for reading in READINGS])


def _reading(reading: Reading, rows: Figures) -> str:
    name = reading.name
    (median,), (best,) = (
        [row["value"] for key, row in rows.items() if key.startswith(f"{name}: {which} of ")]
        for which in ("median", "best")
    )
    worst, nodes = rows[name]["value"], rows[f"{name}: most nodes read"]["value"]
    goal = "" if reading.goal is None else f"{_goal(reading.goal)}: {'met' if worst >= reading.goal else '**missed**'}"
    cells = (name, reading.nodes, goal, *map(shown, (worst, median, best)), f"{nodes:.0f}", PAPER[reading.target])
    return f"| {' | '.join(map(str, cells))} |"


def _goal(value: float) -> str:
    return "exact" if value > 0.99999 else f"{value:g}"


def _checks(rows: Figures) -> str:
    kept = [name for name in rows if "CPU seconds" in name or name.startswith(CHECKS)]
    lines = [f"| {name} | {rows[name]['value']:.4g} | {rows[name]['unit']} |" for name in kept]
    return "\n".join(["| what | value | unit |", "|---|---|---|", *lines])


def _of(rows: Figures) -> str:
    lines = [
        "| table, engine | worst R2 | best | against linear | CPU s, at most | largest fall |",
        "|---|---|---|---|---|---|",
    ]
    end = f" <={NODES} nodes"
    for name in (name.removesuffix(end) for name in rows if name.endswith(end)):
        worst, best = rows[name + end], rows[f"{name}: best"]["value"]
        ratio = "" if worst["ratio"] is None else f"{worst['ratio']:.3f}"
        cpu, fall = rows[f"{name}: most CPU seconds"]["value"], rows[name + FALL]["value"]
        lines.append(
            f"| {name} | {shown(worst['value'])} | {shown(best)} | {ratio} | {shown(cpu, 1)} | {shown(fall, 3)} |"
        )
    absent = [f"| {name} | | | | | {row['unit']} |" for name, row in rows.items() if name.endswith("not available")]
    return "\n".join(lines + absent)


def shown(value: float | None, digits: int = 4) -> str:
    """A number; what is left to 1 where rounding would hide it; a dash for none."""
    if value is None:
        return "-"
    if 1 - 0.5 * 10**-digits <= value < 1:
        return f"1 - {1 - value:.0e}"
    return f"{value:,.{digits}f}" if value < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
