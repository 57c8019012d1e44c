"""One self-contained HTML page from plain data: works offline, on a phone and in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rayl2o.checkpoint import replace_file
from rayl2o.evaluate.comparison import BETTER, UNDECIDED, WORSE, Row
from rayl2o.evaluate.figures import Style, learning_curves, styles, typeset
from rayl2o.evaluate.report_data import ReportData, short
from rayl2o.evaluate.symbolic_figures import symbolic_figures

MINUS = "\u2212"


@dataclass(frozen=True)
class Headline:
    """What may be said of the reference against the best classic rule on a task.

    Attributes:
        task, trained_on: Which task.
        outcome: ``ahead``, ``level`` or ``behind``; ``alone`` where there is no classic rule.
        own, rival: Mean losses.
        sentence: The finding with its interval.
        places: Where the formulas come in, by mean loss.
    """

    task: str
    trained_on: bool
    outcome: str
    own: str
    rival: str
    sentence: str
    places: str


@dataclass(frozen=True)
class Mark:
    """An interval drawn in a table cell of width 100, the middle standing for no difference; None parts lie outside."""

    low: float
    high: float
    mean: float | None
    beyond: str


def render(data: ReportData) -> str:
    """The page as text. Everything that comes from ``data`` is escaped.

    Raises:
        ValueError: If there are no rows.
    """
    if not data.rows:
        raise ValueError("a report needs at least one row of results")
    kinds = {row.rule: row.kind for row in data.rows}
    kinds |= {curve.label: curve.kind for panel in data.panels for curve in panel.curves}
    look = styles(kinds)
    tasks = list(dict.fromkeys(row.task for row in data.rows))
    groups = [[row for row in data.rows if row.task == task] for task in tasks]
    formula = typeset(rf"\Delta\theta_t \;=\; {data.formula.latex}") if data.formula and data.formula.latex else None
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            headlines=[headline(group, data.reference) for group in groups],
            groups=[
                {"task": group[0].task, "digits": decimals(group), "rows": _cells(group, look)} for group in groups
            ],
            curves=[(panel, Markup(learning_curves(panel, look))) for panel in data.panels],
            figures=symbolic_figures(data.front, data.network, data.mappings, data.traces),
            formula=Markup(formula) if formula else None,
            confidence=f"{100 * data.how.confidence:g} %",
            marks=_common_marks(data.rows),
        )
    )


def environment() -> Environment:
    """Where the pages are made: everything is escaped, and a name that is not there is an error."""
    made = Environment(
        loader=PackageLoader("rayl2o.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    made.filters["fixed"] = fixed
    return made


def write(path: Path | str, data: ReportData) -> None:
    """Renders into a file, whole or not at all: an old page survives a failure.

    Raises:
        UserError: If the disk refuses.
        ValueError: If there are no rows.
    """
    text = render(data)
    replace_file(Path(path), lambda file: file.write(text.encode()))


def number(value: float | None) -> str:
    """Three significant digits, without an exponent where one is not needed."""
    if value is None or math.isnan(value):
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    power = math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(0, 2 - power)}f}" if -4 <= power < 9 else f"{value:.2e}"
    return text.replace("-", MINUS)


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals."""
    return f"{value:,.{digits}f}".replace("-", MINUS)


def decimals(rows: Sequence[Row]) -> int:
    """Decimals that show three significant digits of the lowest mean loss of a task: one column, one precision."""
    least = min(abs(row.mean_loss) for row in rows)
    return min(max(2 - math.floor(math.log10(least)), 1), 8) if least > 0 else 4


def headline(rows: Sequence[Row], reference: str) -> Headline:
    """What the rows of one task entitle one to say."""
    own = next(row for row in rows if row.rule == reference)
    order = sorted(rows, key=lambda row: row.mean_loss)
    places = "; ".join(
        f"{short(row.rule)}: place {order.index(row) + 1} of {len(rows)}" for row in rows if row.kind == "formula"
    )
    rival = next((row for row in rows if row.best_classic and row.rule != reference), None)
    if rival is None or rival.difference is None:
        sentence = f"{short(reference)}: mean loss {number(own.mean_loss)} over {own.seeds} seeds."
        return Headline(own.task, own.trained_on, "alone", number(own.mean_loss), "", sentence, places)
    outcome = {WORSE: "ahead", BETTER: "behind", UNDECIDED: "level"}[rival.verdict]
    digits = decimals(rows)
    gap, over = rival.difference, f"Paired over {own.seeds} seeds"
    winner, loser = (own, rival) if outcome == "ahead" else (rival, own)
    own_name, rival_name = short(reference), short(rival.rule)
    low, high = sorted((abs(gap.low), abs(gap.high)))
    sentence = (
        f"No winner between {own_name} and {rival_name}, the best tuned classic rule here. {over}, {rival_name} minus "
        f"{own_name} is {fixed(gap.mean, digits)} [{fixed(gap.low, digits)}, {fixed(gap.high, digits)}], which includes zero."
        if outcome == "level"
        else f"The loss of {short(winner.rule)} is {abs(gap.mean) / loser.mean_loss:.0%} below that of {short(loser.rule)}"
        f"{', the best tuned classic rule here' if outcome == 'ahead' else ''}. {over}, it is lower by "
        f"{fixed(abs(gap.mean), digits)} [{fixed(low, digits)}, {fixed(high, digits)}], clear of zero."
    )
    means = fixed(own.mean_loss, digits), fixed(rival.mean_loss, digits)
    return Headline(own.task, own.trained_on, outcome, *means, sentence, places)


def _cells(rows: Sequence[Row], look: dict[str, Style]) -> list[dict[str, object]]:
    """The rows of one task, best first, each with its style and its interval drawn on a common scale."""
    gaps = [row.difference for row in rows if row.difference is not None]
    sizes = sorted(max(abs(gap.low), abs(gap.high)) for gap in gaps)
    # One rule that fares very badly must not squeeze the others together.
    reach = min(sizes[-1], 2 * sizes[len(sizes) // 2]) if sizes else 0.0
    best = min(row.mean_loss for row in rows)
    return [
        {"row": row, "style": look[row.rule], "mark": _mark(row, reach or 1.0), "best": row.mean_loss == best}
        for row in sorted(rows, key=lambda row: row.mean_loss)
    ]


def _mark(row: Row, reach: float) -> Mark | None:
    if row.difference is None:
        return None
    low, mean, high = (50 + 46 * x / reach for x in (row.difference.low, row.difference.mean, row.difference.high))
    beyond = "right" if mean > 98 else "left" if mean < 2 else ""
    return Mark(min(max(low, 2), 98), min(max(high, 2), 98), mean if not beyond else None, beyond)


def _common_marks(rows: Sequence[Row]) -> list[str]:
    """Marks that every row has, in order."""
    return [mark for mark in rows[0].log_loss if all(mark in row.log_loss for row in rows)]
