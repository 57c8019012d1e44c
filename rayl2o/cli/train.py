"""``rayl2o train``: meta-trains a rule, or goes on with a run that was interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.table import Table

from rayl2o.cli.options import Address, Json, Out, RolloutWorkers, Runtime, first_free, one_thread
from rayl2o.cli.output import Output, output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.cluster.train import ClusterResult
    from rayl2o.config import RunConfig
    from rayl2o.run import TrainResult
    from rayl2o.runtime import RuntimeConfig

Done: TypeAlias = "TrainResult | ClusterResult"
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
    runtime: Runtime = None,
    address: Address = None,
    workers: RolloutWorkers = None,
    as_json: Json = False,
) -> None:
    """Meta-train a rule; the run's folder holds config, checkpoints, metrics, log and the trained rule."""
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
    where = {"kind": runtime, "address": address, "workers": workers}
    with output(as_json) as says:
        done = (
            _resume(resume, where, says)
            if resume is not None
            else _begin(str(source), overrides or [], out, where, says)
        )
        says.result(done.to_json(), _summary(done))


Where = dict[str, Any]


def _begin(source: str, overrides: list[str], out: Path | None, where: Where, says: Output) -> Done:
    from rayl2o.config import load

    config = load(source, overrides)
    config = replace(config, runtime=placed(config.runtime, where))
    folder = out if out is not None else first_free(RUNS, Path(source).stem)
    return _followed(config, folder, says, begin=True)


def _resume(folder: Path, where: Where, says: Output) -> Done:
    from rayl2o.folder import read_config

    config = read_config(folder)
    config = replace(config, runtime=placed(config.runtime, where))
    return _followed(config, folder, says, begin=False)


def placed(runtime: RuntimeConfig, where: Where) -> RuntimeConfig:
    """The config's runtime with what the command line says; ``--address`` alone means a cluster."""
    given = {name: value for name, value in where.items() if value is not None}
    if "address" in given:
        given.setdefault("kind", "cluster")
    kind = given.get("kind", runtime.kind)
    if kind == "inline" and ("workers" in given or "address" in given):
        raise UserError(
            "one process has no workers", value="--runtime inline", mend="add --runtime local, or leave out --workers"
        )
    if kind != "cluster":
        given.setdefault("address", "")
    if kind == "cluster" and kind != runtime.kind:
        given.setdefault("address", "auto")
    return replace(runtime, **given)


def _followed(config: RunConfig, folder: Path, says: Output, begin: bool) -> Done:
    from rayl2o.cli.progress import train_progress

    with _resumable(folder, says), train_progress(config, says.err) as follow:
        if config.runtime.kind == "inline":
            from rayl2o import run

            return run.train(config, folder, follow) if begin else run.resume(folder, follow)
        from rayl2o.cluster import train

        return train.train(config, folder, follow) if begin else train.resume(folder, config.runtime, follow)


class _resumable:
    """Says how to go on if Ctrl-C ends the run."""

    def __init__(self, folder: Path, says: Output) -> None:
        self._folder, self._says = folder, says

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._says.err.print(f"interrupted; go on with: rayl2o train --resume {self._folder}", markup=False)


def _summary(done: Done) -> Table:
    from rayl2o.cli.board import workers_line
    from rayl2o.folder import read_config
    from rayl2o.run import TrainResult

    workers = None if isinstance(done, TrainResult) else done.workers
    done = done if isinstance(done, TrainResult) else done.train
    task = read_config(done.run).task
    data = f" --data {task.settings['data']}" if "data" in task.settings else ""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("run", str(done.run)),
        ("status", f"{done.status} after {done.updates} updates"),
        ("speed", f"{done.inner_steps_per_s:,.0f} inner steps/s"),
        *(() if workers is None else (("on Ray", workers_line(workers)),)),
        ("phi", f"sha256 {done.phi_sha256[:16]}..."),
        ("next", f"rayl2o evaluate {done.run} adam:lr=0.01 --task {task.name}{data}"),
        ("", f"rayl2o distill {done.run}"),
    ):
        table.add_row(f"[bold]{name}[/bold]", value)
    return table
