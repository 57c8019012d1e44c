"""A front of formulas as a table: what ``distill`` ends with and ``symbols`` browses. It fits 80 columns, and uses more."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rayl2o.cli.front_document import Entry, FrontDocument, columns_of
from rayl2o.cli.output import number, one_line
from rayl2o.evaluate.front_data import Column
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.front import Front

WIDE = 150
"""Columns of the terminal from which on the formula stands beside its numbers; in narrower ones it stands below them."""
CHOSEN = "bold green"
NAMES = ("#", "nodes", "buf", "R2", "early/late", "x3", "loss", "TPF", "ok", "engine")
"""Head of the columns, but for the formula."""


@dataclass(frozen=True)
class FrontTable:
    """Candidates as lines; adapts to the width of the console it is printed on."""

    entries: Sequence[Entry]
    title: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.title, style="bold")
        if not self.entries:
            yield Text("  none")
            return
        candidates = [entry.candidate for entry in self.entries]
        wide = options.max_width >= WIDE
        table = _numbers(self.entries, wide)
        if wide:
            yield table
        else:
            lines = console.render_lines(table, options, pad=False)
            head, rows = lines[: -len(self.entries)], lines[-len(self.entries) :]
            for line in head:
                yield from _line(line)
            for entry, line in zip(self.entries, rows, strict=True):
                yield from _line(line)
                yield from _formula(entry)
        marked = "> selected; " if any(entry.selected for entry in self.entries) else ""
        yield Text(marked + legend(candidates), style="dim")


def row(index: int, candidate: Candidate) -> dict[str, Any]:
    """A member as ``distill --json`` and ``symbols --json`` give it: ``r2`` on rows that decided nothing."""
    return {
        "index": index,
        "complexity": candidate.complexity,
        "buffers": candidate.buffers,
        "engine": candidate.engine,
        "r2": candidate.r2,
        "r2_train": candidate.r2_train,
        "r2_val": candidate.r2_val,
        "r2_early": candidate.r2_early,
        "r2_late": candidate.r2_late,
        "r2_stretched": candidate.r2_stretched,
        "closed_loop": candidate.closed_loop,
        "closed_loop_runs": candidate.closed_loop_runs,
        "diverged": candidate.diverged,
        "stable": candidate.stable,
        "tpf": dict(candidate.tpf),
        "formula": str(candidate.expression),
        "flagged": [reason.to_json() for reason in candidate.flagged],
    }


def front_table(front: Front, selected: Candidate | None) -> FrontTable:
    """One line per candidate by rising complexity; the one selected in closed loop is marked."""
    entries = FrontDocument(front, selected).entries[: len(front.candidates)]
    return FrontTable(entries, "front: complexity against held-out rows, judged in closed loop")


def columns_table(data: Mapping[str, Any] | Iterable[Column]) -> Group:
    """Network, distilled, gained and tuned side by side, from the JSON of a distillation or its columns."""
    columns = columns_of(data) if isinstance(data, Mapping) else tuple(data)
    fresh = any(column.held_out is not None for column in columns)
    title = "closed loop: mean loss ± sd over runs"
    title += "; quote the fresh runs, the others chose the rules" if fresh else ""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    names = ("rule", "selection runs", *(("fresh runs",) if fresh else ()), "diverged", "R2 to the network", "buffers")
    for name in names:
        table.add_column(name, justify="left" if name == "rule" else "right")
    for column in columns:
        unseen = "-" if column.held_out is None else spread(column.held_out, column.held_out_runs)
        table.add_row(
            column.name,
            spread(column.mean_loss, column.losses),
            *((unseen,) if fresh else ()),
            f"{column.diverged}, {column.held_out_diverged}" if fresh else str(column.diverged),
            "" if column.r2 is None else number(column.r2, 3),
            "" if column.buffers is None else str(column.buffers),
        )
    return Group(Text(title, style="bold"), table)


def cells(candidate: Candidate, signals: Sequence[str]) -> tuple[str, ...]:
    """What the table says of a candidate, from its nodes to its engine; ``signals`` gives the order of the TPF."""
    periods = f"{short(candidate.r2_early)}/{short(candidate.r2_late)}"
    lags = " ".join(f"{candidate.tpf[name]:.1f}" if name in candidate.tpf else "-" for name in signals)
    return (
        str(candidate.complexity),
        str(candidate.buffers),
        short(candidate.r2, 3),
        periods,
        short(candidate.r2_stretched),
        loss(candidate),
        lags,
        "yes" if candidate.stable else "no",
        one_line(candidate.engine),
    )


def loss(candidate: Candidate) -> str:
    """Mean loss in closed loop with its spread over runs; what became of a candidate that has none."""
    if candidate.diverged:
        return "diverged"
    return "-" if candidate.closed_loop is None else spread(candidate.closed_loop, candidate.closed_loop_runs)


def spread(mean: float, runs: Sequence[float]) -> str:
    """A mean with the standard deviation over its runs, both with the decimals that give the mean four digits."""
    if len(runs) < 2 or not math.isfinite(mean) or not all(math.isfinite(run) for run in runs):
        return number(mean)
    deviation = statistics.stdev(runs)
    if not 1e-4 <= abs(mean) < 1e6:
        return f"{mean:.2e}±{deviation:.1e}"
    decimals = max(0, 3 - math.floor(math.log10(abs(mean))))
    return f"{mean:,.{decimals}f}±{deviation:,.{decimals}f}"


def short(value: float | None, digits: int = 2) -> str:
    """A score in few characters: two or three decimals; less than -9 is only said to be."""
    if value is None or math.isnan(value):
        return "-"
    return "<-9" if value < -9 else f"{value:.{digits}f}"


def signals_of(candidates: Iterable[Candidate]) -> list[str]:
    """The signals whose TPF any of them has, in order."""
    return sorted({name for candidate in candidates for name in candidate.tpf})


def legend(candidates: Sequence[Candidate]) -> str:
    """What the columns are, as far as these candidates have something in them."""
    tested = all(candidate.r2_test is not None for candidate in candidates)
    parts = [f"R2 on {'test' if tested else 'validation'} rows, of all, early and late ones"]
    if any(candidate.r2_stretched is not None for candidate in candidates):
        parts.append("x3: R2 with gradients times 3")
    runs = max((len(candidate.closed_loop_runs) for candidate in candidates), default=0)
    parts.append(f"loss: mean ± sd over {runs} runs" if runs > 1 else "loss: mean over the selection runs, - not run")
    if signals := signals_of(candidates):
        parts.append(f"TPF in steps at {', '.join(signals)}")
    return "; ".join([*parts, "ok: no guard, no divergence, no blow-up at x3", "buf: floats of state"])


def _numbers(entries: Sequence[Entry], with_formula: bool) -> Table:
    signals = signals_of(entry.candidate for entry in entries)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in NAMES:
        table.add_column(name, justify="left" if name == "engine" else "right", no_wrap=True, overflow="ellipsis")
    if with_formula:
        table.add_column("formula", overflow="fold", ratio=1)
    for entry in entries:
        mark = f"{'>' if entry.selected else ''}{entry.index}"
        formula = (_pretty(entry),) if with_formula else ()
        # As Text: what a file says must not be taken for markup.
        row = [Text(cell) for cell in (mark, *cells(entry.candidate, signals), *formula)]
        table.add_row(*row, style=_style(entry))
    return table


def _style(entry: Entry) -> str:
    return CHOSEN if entry.selected else "dim" if entry.candidate.refused else ""


def _pretty(entry: Entry) -> str:
    reasons = "".join(f"\nrefused: {one_line(reason.detail)}" for reason in entry.candidate.refused)
    return entry.candidate.expression.pretty() + reasons


def _formula(entry: Entry) -> Iterable[Padding]:
    for part in _pretty(entry).splitlines():
        yield Padding.indent(Text(part, style=_style(entry), overflow="fold"), 5)


def _line(line: Iterable[Segment]) -> Iterable[Segment]:
    yield from line
    yield Segment.line()
