"""The table of results for a terminal: the report's rows as a rich Table. The caller prints it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from rayl2o.evaluate.comparison import BETTER, REFERENCE, WORSE, Row

_STYLES = {BETTER: "green", WORSE: "red", REFERENCE: "bold"}


def result_table(rows: Sequence[Row]) -> Table:
    """Task by task, best first: mean loss with its interval, paired difference to the reference, verdict."""
    reference = next((row.rule for row in rows if row.verdict == REFERENCE), "reference")
    table = Table(
        caption=f"mean loss over the horizon, intervals over seeds; differences are paired, minus {reference}"
    )
    for heading in ("task", "rule"):
        table.add_column(heading)
    for heading in ("mean loss", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for task in dict.fromkeys(row.task for row in rows):
        group = sorted((row for row in rows if row.task == task), key=lambda row: row.mean_loss)
        seen = "trained on" if group[0].trained_on else "not trained on"
        for i, row in enumerate(group):
            name, _, setting = row.rule.partition(":")
            gap = row.difference
            cells = (
                f"{task}\n({seen})" if i == 0 else "",
                f"{name}\n{setting.replace(',', ', ')}" if setting else name,
                f"{row.mean_loss:.4f}\n{row.low:.4f} to {row.high:.4f}",
                "" if gap is None else f"{gap.mean:+.4f}\n{gap.low:+.4f} to {gap.high:+.4f}",
                row.verdict + (f"\n{row.diverged} of {row.seeds} diverged" if row.diverged else ""),
            )
            # As Text, so that brackets in a label are not read as markup.
            table.add_row(*map(Text, cells), style=_STYLES.get(row.verdict, ""), end_section=i == len(group) - 1)
    return table
