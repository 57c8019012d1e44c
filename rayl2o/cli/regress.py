"""``rayl2o regress``: symbolic regression of a table of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from rayl2o.cli.options import EngineText, Json, one_thread
from rayl2o.cli.output import number, output

if TYPE_CHECKING:
    from rayl2o.symbolic.regress import Regression


def verb(
    file: Annotated[
        Path, typer.Argument(metavar="TABLE.parquet", help="Numbers: a column is an input, one is the target.")
    ],
    target: Annotated[str, typer.Option("--target", help="The column to explain.")],
    test: Annotated[
        Path | None,
        typer.Option("--test", help="A table of the same columns to score on; it chooses nothing.", show_default=False),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A column to leave out; repeatable.", show_default=False)
    ] = None,
    engine: EngineText = "evolved",
    cpu_s: Annotated[
        float | None,
        typer.Option("--cpu-s", help="Ceiling of CPU seconds of the search; default: 30, or the preset's."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", help="Nodes of the largest formula; default: 60, or the preset's.")
    ] = None,
    offset: Annotated[bool, typer.Option(help="Allow a constant term, where the engine has the choice.")] = True,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes; changes no number.")] = 1,
    as_json: Json = False,
) -> None:
    """Find formulas for a column of a table, from the simplest to the best."""
    one_thread()
    from rayl2o.cli.engine_argument import budget_of, parsed
    from rayl2o.cli.progress import waiting
    from rayl2o.evaluate.pmap import process_map
    from rayl2o.symbolic.columns_file import read_columns
    from rayl2o.symbolic.engines.base import Budget
    from rayl2o.symbolic.engines.registry import engine as engine_of
    from rayl2o.symbolic.engines.registry import has_setting
    from rayl2o.symbolic.regress import regress

    with output(as_json) as says:
        name, changes = parsed(engine)
        budget = budget_of(name, cpu_s, nodes, Budget(30.0, 60))
        chosen = engine_of(name, {**({"offset": offset} if has_setting(name, "offset") else {}), **changes})
        table = read_columns(file, target, without or ())
        tested = None if test is None else read_columns(test, target, without or ())
        with waiting(f"searching with {engine}", says.err):
            pmap = process_map(workers) if workers > 1 else map
            found = regress(table, chosen, budget, seed, tested, pmap, offset)
        front = [one.to_json() for one in found.front]
        says.result({"front": front, "recommended": found.recommended, "cpu_s": found.cpu_s}, _table(found, target))


def _table(found: Regression, target: str) -> Table:
    caption = "* recommended: the simplest stable one near the best on rows that were not fitted"
    table = Table(title=f"{target} =", caption=caption)
    for name in ("", "nodes", "R2", "MSE", "test MSE", "stable", "formula"):
        table.add_column(
            name, justify="right" if name in ("nodes", "R2", "MSE", "test MSE") else "left", overflow="fold"
        )
    for i, one in enumerate(found.front):
        mark = "*" if i == found.recommended else ""
        error = "" if one.mse_test is None else number(one.mse_test)
        cells = (mark, str(one.expression.complexity), number(one.r2, 4), number(one.mse_train), error)
        table.add_row(
            *map(Text, (*cells, "yes" if one.stable else "no", one.expression.pretty(4))), style="bold" if mark else ""
        )
    return table
