"""A study's rows as tables: markdown for pages, rich for a terminal. The columns are the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.table import Table
from rich.text import Text

from rayl2o.evaluate.comparison import BETTER, REFERENCE, WORSE
from rayl2o.study.definition import Evaluation, Study, parse
from rayl2o.study.results import Row
from rayl2o.study.training import UPDATES

_STYLES = {BETTER: "green", WORSE: "red", REFERENCE: "bold"}
R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """A heading, whether it is flushed right, and what stands in a row."""

    heading: str
    right: bool
    cell: Callable[[R], str]


@dataclass(frozen=True)
class Block(Generic[R]):
    """Rows, such as those of one evaluation and clock, with what their table is called."""

    title: str
    columns: tuple[Column[R], ...]
    rows: tuple[R, ...]


def blocks(document: Mapping[str, Any], rows: Sequence[Row]) -> list[Block[Row]]:
    """One table per evaluation and clock, in the order of the rows."""
    study = parse(document["definition"], document["study"])
    by_name = {one.label: one for one in study.evaluations}
    found = []
    for (name, clock), group in itertools.groupby(rows, key=lambda row: (row.evaluation, row.clock)):
        members = tuple(group)
        found.append(Block(_title(by_name[name], clock, members), tuple(_columns(study, members)), members))
    return found


def _title(one: Evaluation, clock: str, members: Sequence[Row]) -> str:
    """E.g. ``mlp-orig, 1,000 steps, 5 seeds, after all updates``."""
    at = max(row.mark for row in members)
    when = "after all updates" if clock == UPDATES else f"after {at:g} CPU seconds of training"
    return f"{one.label}, {one.steps:,} steps, {one.seeds} seeds, {when}"


def _columns(study: Study, members: Sequence[Row]) -> Iterator[Column[Row]]:
    """Columns that would be empty throughout are left out."""
    yield Column(" / ".join(study.axes), False, _name)
    yield Column("mean loss", True, lambda row: f"{row.mean:.4g}")
    yield Column("interval", True, lambda row: "" if row.low is None else f"{row.low:.4g} to {row.high:.4g}")
    if any(row.alive is not None for row in members):
        yield Column("alive", True, lambda row: "" if row.alive is None else f"{row.alive} of {len(row.points)}")
    if any(row.difference is not None for row in members):
        yield Column("difference", True, _difference)
        yield Column("verdict", False, _verdict)
    yield Column("last log-loss", True, lambda row: f"{row.final:.2f}")
    if any(row.diverged for row in members):
        yield Column("diverged", True, lambda row: f"{row.diverged} of {row.runs}" if row.diverged else "")
    for credit in dict.fromkeys(credit for row in members for credit in row.cosines):
        yield Column(f"cosine, {credit.replace('_', ' ')}", True, _cosine_of(credit))
    yield Column("updates", True, lambda row: f"{row.updates:,.0f}" if row.levels else "")
    yield Column("CPU s", True, lambda row: f"{row.cpu_s:.1f}" if row.levels else "")


def _name(row: Row) -> str:
    return " / ".join(row.levels.values()) if row.levels else row.label


def _difference(row: Row) -> str:
    gap = row.difference
    return "" if gap is None else f"{gap.mean:+.4g} ({gap.low:+.4g} to {gap.high:+.4g})"


def _verdict(row: Row) -> str:
    return f"{row.verdict} than {row.against}" if row.verdict in (BETTER, WORSE) else row.verdict


def _cosine_of(credit: str) -> Callable[[Row], str]:
    return lambda row: f"{row.cosines[credit]:.3f}" if credit in row.cosines else ""


def markdown(found: Sequence[Block[Any]]) -> str:
    """The tables one after the other, each under its title."""
    return "\n".join(_markdown_table(block) for block in found)


def _markdown_table(block: Block[Any]) -> str:
    lines = [
        _line(column.heading for column in block.columns),
        _line("---:" if column.right else "---" for column in block.columns),
        *(_line(column.cell(row) for column in block.columns) for row in block.rows),
    ]
    return f"**{block.title}**\n\n" + "\n".join(lines) + "\n"


def _line(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def rich_table(block: Block[Any]) -> Table:
    """The same for a terminal."""
    table = Table(title=block.title, title_justify="left")
    for column in block.columns:
        table.add_column(column.heading, justify="right" if column.right else "left", overflow="fold")
    for row in block.rows:
        # As Text, so that brackets in a label are not read as markup.
        style = _STYLES.get(row.verdict, "") if isinstance(row, Row) else ""
        table.add_row(*(Text(column.cell(row)) for column in block.columns), style=style)
    return table
