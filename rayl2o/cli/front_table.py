"""A front of formulas as a table: what ``distill`` ends with and ``symbols`` browses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from rayl2o.cli.output import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rayl2o.symbolic.candidate import Candidate
    from rayl2o.symbolic.front import Front


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


def front_table(front: Front, selected: Candidate | None) -> Table:
    """One line per candidate by rising complexity; the one selected in closed loop is marked."""
    table = Table(title="front: complexity against held-out rows, judged in closed loop")
    for name in ("#", "nodes", "buffers", "R2", "mean loss"):
        table.add_column(name, justify="right")
    table.add_column("formula", overflow="fold")
    for i, candidate in enumerate(front.candidates):
        chosen = selected is not None and candidate.expression == selected.expression
        loss = "diverged" if candidate.diverged else number(candidate.closed_loop)
        table.add_row(
            f"{'>' if chosen else ''}{i}",
            str(candidate.complexity),
            str(candidate.buffers),
            number(candidate.r2, 3),
            loss,
            candidate.expression.pretty(),
            style="bold green" if chosen else None,
        )
    return table


def columns_table(columns: Mapping[str, Any]) -> Table:
    """Network, distilled, gained and tuned side by side, from the JSON of a distillation."""
    table = Table(title="closed loop on the selection runs")
    for name in ("rule", "mean loss", "diverged", "R2 to the network", "buffers"):
        table.add_column(name, justify="left" if name == "rule" else "right")
    network = columns["network"]
    table.add_row("network", number(network["mean_loss"]), str(network["diverged"]), "", "")
    for name in ("distilled", "gained", "tuned"):
        column = columns[name]
        if column is not None:
            score = column["score"]
            cells = (
                number(score["mean_loss"]),
                str(score["diverged"]),
                number(column["r2"], 3),
                str(column["buffers"]),
            )
            table.add_row(name, *cells)
    return table
