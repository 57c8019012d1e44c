"""``rayl2o train``: meta-trains a rule, or goes on with a run that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rayl2o.cli.options import Json, Out, first_free, one_thread
from rayl2o.cli.output import Output, output
from rayl2o.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rayl2o.run import TrainResult

RUNTIMES = ("inline",)
RUNS = Path("runs")


def verb(
    source: Annotated[
        str | None, typer.Argument(metavar="PRESET_OR_FILE", help="A preset of 'rayl2o list presets' or a YAML file.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="E.g. updates=100 unroll.steps=10 seed=1.")
    ] = None,
    out: Out = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with the run in this folder.", show_default=False)
    ] = None,
    runtime: Annotated[str, typer.Option("--runtime", help="Where roll-outs run: inline (this process).")] = "inline",
    as_json: Json = False,
) -> None:
    """Meta-train a rule; the run's folder holds config, checkpoints, metrics, log and the trained rule."""
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    if resume is None and source is None:
        raise UserError(
            "nothing to train", value=None, mend="name a preset (rayl2o list presets), a YAML file or --resume"
        )
    if resume is not None and (source is not None or out is not None):
        given = source if source is not None else str(out)
        raise UserError(
            "--resume goes on as the run was begun", value=given, mend="leave out preset, overrides and --out"
        )
    one_thread()
    with output(as_json) as says:
        done = _resume(resume, says) if resume is not None else _begin(str(source), overrides or [], out, says)
        says.result(done.to_json(), _summary(done))


def _begin(source: str, overrides: list[str], out: Path | None, says: Output) -> TrainResult:
    from rayl2o.cli.progress import train_progress
    from rayl2o.config import load
    from rayl2o.run import train

    config = load(source, overrides)
    folder = out if out is not None else first_free(RUNS, Path(source).stem)
    with _resumable(folder, says), train_progress(config, says.err) as follow:
        return train(config, folder, follow)


def _resume(folder: Path, says: Output) -> TrainResult:
    from rayl2o.cli.progress import train_progress
    from rayl2o.run import read_config, resume

    config = read_config(folder)
    with _resumable(folder, says), train_progress(config, says.err) as follow:
        return resume(folder, follow)


class _resumable:
    """Says how to go on if Ctrl-C ends the run."""

    def __init__(self, folder: Path, says: Output) -> None:
        self._folder, self._says = folder, says

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._says.err.print(f"interrupted; go on with: rayl2o train --resume {self._folder}", markup=False)


def _summary(done: TrainResult) -> Table:
    from rayl2o.run import read_config

    task = read_config(done.run).task
    data = f" --data {task.settings['data']}" if "data" in task.settings else ""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("run", str(done.run)),
        ("status", f"{done.status} after {done.updates} updates"),
        ("speed", f"{done.inner_steps_per_s:,.0f} inner steps/s"),
        ("phi", f"sha256 {done.phi_sha256[:16]}..."),
        ("next", f"rayl2o evaluate {done.run} adam:lr=0.01 --task {task.name}{data}"),
        ("", f"rayl2o distill {done.run}"),
    ):
        table.add_row(f"[bold]{name}[/bold]", value)
    return table
