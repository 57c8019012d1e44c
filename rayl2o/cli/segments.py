"""``rayl2o segments``: checks a file of segments and says what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import number, output

if TYPE_CHECKING:
    from rayl2o.unroll.segment import Segment


def verb(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Arrow IPC (.arrow) or Parquet (.parquet) of segments.")],
    as_json: Json = False,
) -> None:
    """Read segments back with every check, and summarise them."""
    one_thread()
    from rayl2o.trajectory.store import read_ipc, read_parquet

    with output(as_json) as says:
        found = read_parquet(file) if file.suffix == ".parquet" else read_ipc(file)
        rows = [_row(segment) for segment in found]
        says.result({"file": str(file), "segments": rows}, _table(file, rows))


def _table(file: Path, rows: list[dict[str, Any]]) -> Table:
    """A line per segment; K instances, U steps, C coordinates."""
    table = Table(
        title=file.name, caption="slot.ordinal.segment, K instances, U steps from step, C coordinates, version of phi"
    )
    for name in (
        "run",
        "family",
        "segment",
        "behaviour",
        "step",
        "K",
        "U",
        "C",
        "version",
        "diverged",
        "mean loss",
        "bytes",
    ):
        table.add_column(name, justify="left" if name in ("run", "family", "behaviour") else "right", overflow="fold")
    counts = ("start_step", "instances", "steps", "coords", "policy_version", "diverged")
    for row in rows:
        place = f"{row['slot']}.{row['ordinal']}.{row['segment']}"
        numbers = [str(row[name]) for name in counts]
        cells = (
            row["run"],
            row["family"],
            place,
            row["behaviour"],
            *numbers,
            number(row["mean_loss"]),
            f"{row['bytes']:,}",
        )
        table.add_row(*map(Text, cells))
    return table


def _row(segment: Segment) -> dict[str, Any]:
    """One segment as one line; the loss is the mean over the steps that count."""
    source = segment.source
    losses = [float(row[: int(n) + 1].double().mean()) for row, n in zip(segment.loss, segment.valid, strict=True)]
    return {
        "run": source.run_id,
        "family": source.family,
        "slot": source.slot,
        "ordinal": source.ordinal,
        "segment": source.segment,
        "start_step": source.start_step,
        "policy_version": source.policy_version,
        "behaviour": source.behaviour,
        "instances": segment.k,
        "steps": segment.steps,
        "coords": segment.coords.shape[1],
        "diverged": sum(status != "ok" for status in segment.status),
        "mean_loss": sum(losses) / len(losses),
        "bytes": segment.nbytes(),
    }
