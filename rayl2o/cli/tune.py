"""``rayl2o tune``: a study of baseline optimizers, of meta-training settings or of a distillation's engine with Ray Tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rayl2o.cli.options import Json, Out, first_free, one_thread
from rayl2o.cli.output import Output, output
from rayl2o.errors import UserError, unknown_name

if TYPE_CHECKING:
    from rayl2o.cluster.study import StudyResult
    from rayl2o.runtime import RuntimeConfig

STUDIES = Path("studies")
_RUNTIMES = ("local", "cluster")


def verb(
    source: Annotated[
        str | None, typer.Argument(metavar="STUDY.yaml", help="E.g. tune_configs/baselines_mlp.yaml.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="E.g. draws=10 search.kind=random.")
    ] = None,
    out: Out = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="Go on with the study in this folder; one of your own.", show_default=False),
    ] = None,
    runtime: Annotated[
        str, typer.Option("--runtime", help="local (starts Ray on this machine) or cluster (joins one).")
    ] = "local",
    address: Annotated[
        str, typer.Option("--address", help="auto or HOST:PORT of the cluster.", show_default=False)
    ] = "",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Trials at once; 0 for as many as fit.")] = 0,
    as_json: Json = False,
) -> None:
    """Tune with Ray: baseline optimizers with equal budgets, settings of a meta-training, or of a distillation's engine."""
    if runtime not in _RUNTIMES:
        raise unknown_name("runtime", runtime, _RUNTIMES)
    if resume is None and source is None:
        raise UserError(
            "nothing to tune", value=None, mend="name a study such as tune_configs/baselines_mlp.yaml, or --resume"
        )
    if resume is not None and (source is not None or out is not None):
        given = source if source is not None else str(out)
        raise UserError(
            "--resume goes on as the study was begun", value=given, mend="leave out file, overrides and --out"
        )
    one_thread()
    from rayl2o.runtime import RuntimeConfig

    where = RuntimeConfig(kind=runtime, address=address, workers=workers)
    with output(as_json) as says:
        done = (
            _resume(resume, where, says)
            if resume is not None
            else _begin(str(source), overrides or [], out, where, says)
        )
        from rayl2o.cli.tune_view import study_view

        says.result(done.to_json(), *study_view(done))


def _begin(source: str, overrides: list[str], out: Path | None, where: RuntimeConfig, says: Output) -> StudyResult:
    from rayl2o.cli.tune_view import study_progress
    from rayl2o.cluster.study import begin
    from rayl2o.cluster.study_config import read

    study = read(source, overrides)
    folder = out if out is not None else first_free(STUDIES, Path(source).stem)
    with _resumable(folder, says), study_progress(says.err) as follow:
        return begin(study, folder, where, follow)


def _resume(folder: Path, where: RuntimeConfig, says: Output) -> StudyResult:
    from rayl2o.cli.tune_view import study_progress
    from rayl2o.cluster.study import resume

    with _resumable(folder, says), study_progress(says.err) as follow:
        return resume(folder, where, follow)


class _resumable:
    """Says how to go on if Ctrl-C ends the study."""

    def __init__(self, folder: Path, says: Output) -> None:
        self._folder, self._says = folder, says

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._says.err.print(f"interrupted; go on with: rayl2o tune --resume {self._folder}", markup=False)
