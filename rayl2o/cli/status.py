"""``rayl2o status``: how a run stands, running or dead, and what to do next."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from rayl2o.cli.board import Board, Row, View, duration, title_of
from rayl2o.cli.options import Json
from rayl2o.cli.output import Output, one_line, output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.follow.reading import Status

_EVERY_S = 1.0
_STYLES = {"running": "green", "finished": "green", "converged": "green", "stalled": "yellow", "unknown": "yellow"}
_STYLES |= {"failed": "red", "dead": "red", "interrupted": "yellow", "elsewhere": "green"}


def verb(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    watch: Annotated[bool, typer.Option("--watch", help="Stay and follow the run to its end; Ctrl-C leaves.")] = False,
    as_json: Json = False,
) -> None:
    """Say how a run stands: its process, progress, workers, faults, last checkpoint, and what to type next."""
    if watch and as_json:
        raise UserError("--json says one thing once", value="--watch", mend="leave out one of --watch, --json")
    from rayl2o.follow.reading import read_status

    with output(as_json) as says:
        if watch:
            _watch(run, says)
        else:
            status = read_status(run)
            says.result(status.to_json(), Board(view_of(status)))


def view_of(status: Status) -> View:
    """The screen of a status."""
    config, progress = status.config, status.progress
    what = f", {config.rule.kind} on {config.task.name}" if config is not None else ""
    where = f", {title_of(status.runtime)}" if status.runtime is not None else ""
    return View(
        f"{status.run}{what}{where}",
        round=status.round,
        updates=status.updates,
        loss=status.loss,
        course=status.course,
        progress=progress,
        elapsed_s=progress.seconds if progress is not None else None,
        left_s=_left(status),
        over=status.state not in ("running", "elsewhere"),
        head=_head(status),
        foot=_foot(status),
    )


def line_of(status: Status) -> str:
    """A status in a line of plain text."""
    loss = f"  loss {status.loss:.4g}" if math.isfinite(status.loss) else ""
    return f"{status.state}  round {status.round}/{status.updates if status.updates is not None else '?'}{loss}"


def next_steps(status: Status) -> tuple[str, ...]:
    """Commands that make sense now."""
    run = shlex.quote(str(status.run))
    resume, log = f"rayl2o train --resume {run}", f"tail -n 20 {run}/log.txt"
    if status.state in ("finished", "converged"):
        config = status.config
        given = config.task.settings.get("data") if config is not None else None
        data = f" --data {shlex.quote(str(given))}" if given is not None else ""
        task = f" --task {shlex.quote(config.task.name)}{data}" if config is not None else ""
        return (f"rayl2o evaluate {run} adam:lr=0.01{task}", f"rayl2o distill {run}")
    if status.state in ("dead", "interrupted"):
        return (resume,)
    if status.state == "failed":
        return (log, resume)
    if status.state == "stalled" and status.process is not None:
        return (log, f"kill -9 {status.process.pid}", resume)
    follow = (f"rayl2o status {run} --watch", f"tensorboard --logdir {run}/events")
    return follow if status.state == "running" else (*follow, f"{resume}  # if nothing works on it")


def _watch(run: Path, says: Output) -> None:
    try:
        if says.out.is_terminal:
            _watch_live(run, says.out)
        else:
            _watch_lines(run, says.out)
    except KeyboardInterrupt:
        pass  # the run goes on; only the watcher leaves


def _watch_live(run: Path, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        for status in _statuses(run):
            live.update(Board(view_of(status)), refresh=True)


def _watch_lines(run: Path, console: Console) -> None:
    before = ""
    for status in _statuses(run):
        line = line_of(status)
        if line != before:
            console.print(line, markup=False)
        before = line


def _statuses(run: Path) -> Iterator[Status]:
    """Until the run is over."""
    from rayl2o.follow.reading import read_status

    while True:
        status = read_status(run)
        yield status
        if status.over:
            return
        time.sleep(_EVERY_S)


def _left(status: Status) -> float | None:
    """Seconds to the last round."""
    progress, pace = status.progress, status.pace_s
    if status.state not in ("running", "elsewhere") or progress is None or not pace or status.age_s is None:
        return None
    return max(0.0, (progress.updates - progress.round) * pace - status.age_s)


def _head(status: Status) -> tuple[Row, ...]:
    from rayl2o.follow.reading import STATES

    says = STATES[status.state]
    process = status.process
    if process is not None and status.state in ("running", "stalled", "dead"):
        says = f"{says} (pid {process.pid})"
    elif process is not None and status.state == "elsewhere":
        says = f"its process is on another machine, {process.host}, and cannot be seen from here"
    state = Text.assemble((status.state, f"bold {_STYLES[status.state]}"), f": {one_line(says)}")
    rows: list[Row] = [("state", state)]
    if status.error is not None:
        rows.append(("error", Text(one_line(status.error), style="red")))
    if status.age_s is not None:
        rows.append(("last word", Text(f"{_ago(status.age_s)} ago")))
    return tuple(rows)


def _foot(status: Status) -> tuple[Row, ...]:
    saved = "none yet" if status.checkpoint is None else f"round {status.checkpoint:,}, the newest valid checkpoint"
    rows: list[Row] = [("saved", Text(saved))]
    rows += [("note", Text(one_line(note), style="yellow")) for note in status.notes]
    rows += [("next" if i == 0 else "", Text(step, style="bold")) for i, step in enumerate(next_steps(status))]
    return tuple(rows)


def _ago(seconds: float) -> str:
    days = int(seconds // 86_400)
    if days:
        return f"{days} day{'s' if days > 1 else ''}"
    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)
