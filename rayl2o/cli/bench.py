"""``rayl2o bench``: runs a published benchmark on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import number, output
from rayl2o.errors import unknown_name

if TYPE_CHECKING:
    from rayl2o.benchmark import Row

_HELP = "meta-gradient, first-order-gap, estimators, compile, full-unroll, segment, tasks, sr-table1, sr-engines, sr-l2o or ray."


def verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_HELP)],
    as_json: Json = False,
) -> None:
    """Measure speed, or what symbolic regression recovers, on one thread, each figure beside a rival."""
    one_thread()
    from rayl2o.benchmark import BENCHMARKS
    from rayl2o.cli.progress import waiting

    known = {**BENCHMARKS, "ray": _ray}
    if name not in known:
        raise unknown_name("benchmark", name, known)
    with output(as_json) as says:
        with waiting(f"measuring {name}", says.err):
            rows = known[name]()
        table = Table(title=name)
        for column in ("figure", "value", "unit", "ratio", "against"):
            table.add_column(column, justify="right" if column in ("value", "ratio") else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, (row.name, number(row.value), row.unit, number(row.ratio, 3), row.against or "")))
        says.result({"rows": [dict(vars(row)) for row in rows]}, table)


def _ray() -> list[Row]:
    from rayl2o.cluster.benchmark import ray_rows  # loads Ray

    return ray_rows()
