"""Writes the tables of docs/distillation.md from the committed result of ``sr-l2o``: ``python scripts/write_l2o_page.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayl2o.benchmark.sr_l2o import MARKS, TASKS
from rayl2o.benchmark.sr_rules import OWN, PUBLISHED

ROOT = Path(__file__).parents[1]
PAGE, RESULT = ROOT / "docs" / "distillation.md", ROOT / "benchmarks" / "results" / "sr-l2o.json"
Figures = Mapping[str, Mapping[str, Any]]
FITS = (
    "R2 at <= 10 nodes",
    "R2 at <= 25 nodes",
    "R2 at <= 60 nodes",
    "nodes of the selected formula",
    "its R2",
    "its state",
    "fit and selection",
    "fronts that collapse or explode",
    "largest member",
    "fronts equal at 1 and 2 threads",
    "distilled less network, worst of 6",
    "formula runs that diverged",
)


def figures() -> Figures:
    """The rows of the committed result, by name."""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    return {row["name"]: row for row in rows}


def page() -> str:
    """The whole page as it should be."""
    rows, text = figures(), PAGE.read_text(encoding="utf-8")
    for name, table in (("sr-l2o fits", fits(rows)), ("sr-l2o losses", losses(rows))):
        block = f"<!-- {name}: written by scripts/write_l2o_page.py -->\n{table}\n<!-- end of {name} -->"
        text, count = re.subn(rf"<!-- {name}: .*?<!-- end of {name} -->", lambda _, b=block: b, text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"the page must have one place for {name}")
    return text


def rules(rows: Figures) -> list[str]:
    """Those that were measured, in order."""
    return [name for name in (*PUBLISHED, *OWN) if f"{name}: its R2" in rows]


def fits(rows: Figures) -> str:
    """One line per figure, one column per rule."""
    names = rules(rows)
    lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for what in FITS:
        cells = [_cell(rows.get(f"{name}: {what}")) for name in names]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    unit, value = row["unit"], row["value"]
    about = unit[unit.index("(") :] if "(" in unit else ""
    text = f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"
    goal = row["against"] or ""
    return " ".join(part for part in (text, about, f"[{goal}]" if goal else "") if part)


def losses(rows: Figures) -> str:
    """One line per rule and column, one column per task and mark."""
    heads = [f"{task} {mark}" for task in TASKS for mark in MARKS]
    lines = [f"| rule | column | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    subjects = [*rules(rows), *sorted({name.partition(":")[0] for name in rows if name.startswith("tuned Adam")})]
    for subject in subjects:
        of_subject = [name for name in rows if name.startswith(f"{subject}: {TASKS[0]} {MARKS[0]} ")]
        for name in of_subject:
            column = name.removeprefix(f"{subject}: {TASKS[0]} {MARKS[0]} ")
            cells = [_loss(rows[f"{subject}: {head} {column}"]) for head in heads]
            lines.append(f"| {subject} | {column} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _loss(row: Mapping[str, Any]) -> str:
    spread = re.search(r"sd ([\d.]+)", row["unit"])
    return f"{row['value']:.2f} ± {spread[1] if spread else '?'}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
