"""``rayl2o demo``: the whole path on real digits, ending in a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayl2o.cli.options import Json, one_thread
from rayl2o.cli.output import output
from rayl2o.errors import unknown_name

RUNTIMES = ("local", "inline")
DATA = ("digits", "mnist")


def verb(
    data: Annotated[str, typer.Option("--data", help="digits (embedded) or mnist ($RAYL2O_DATA).")] = "digits",
    out: Annotated[Path, typer.Option("--out", help="Folder for the run and its report.html.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Every draw derives from it.")] = 0,
    runtime: Annotated[
        str, typer.Option("--runtime", help="local (Ray on this machine) or inline (no Ray).")
    ] = "local",
    as_json: Json = False,
) -> None:
    """Train, distil, fine-tune, tune the baselines, compare on seen and unseen tasks, and write report.html."""
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    if data not in DATA:
        raise unknown_name("data set", data, DATA)
    one_thread()
    from rayl2o.demo import DemoConfig, run_demo

    with output(as_json) as says:
        done = run_demo(DemoConfig(data=data, out=out, seed=seed, runtime=runtime), says.err)
        result = done.to_json()
        says.result(result, done.table, f"report: {result['report']}  ({result['seconds']:.0f} s)")
