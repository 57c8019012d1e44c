"""A run at a glance: one panel, for the live table of ``train`` and the screen of ``status``. Pure: data in, rich out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rayl2o.cli.output import one_line
from rayl2o.follow.staleness import quantiles
from rayl2o.telemetry import Progress, WorkersView

Row = tuple[str, RenderableType]

_BARS = "▁▂▃▄▅▆▇█"
_NOT_A_NUMBER = "×"
_LABEL = 9
_WIDE = 110
"""Columns from which workers stand beside the learning, not below it."""
_LEFT_SHARE = 0.52
_LOG_FROM = 20.0
_LEAST_QUIET_S = 10.0


@dataclass(frozen=True)
class View:
    """What the panel shows.

    Attributes:
        title: Of the panel.
        round, updates: Rounds completed, and at most; updates is None if unknown.
        loss: Of the last round.
        course: Losses in order, recent or all.
        progress: Of the last round that was reported; None before.
        score: The last validation's.
        elapsed_s, left_s: Wall-clock seconds of this process, and until the last round; None leaves them out.
        quiet_s: Seconds since the last round, if they are worth a warning.
        over: Whether what is said of the workers was their last word.
        head, foot: Rows above and below.
    """

    title: str
    round: int = 0
    updates: int | None = None
    loss: float = math.nan
    course: Sequence[float] = ()
    progress: Progress | None = None
    score: float | None = None
    elapsed_s: float | None = None
    left_s: float | None = None
    quiet_s: float | None = None
    over: bool = False
    head: tuple[Row, ...] = ()
    foot: tuple[Row, ...] = ()


class Board:
    """The panel of a :class:`View`; narrow terminals get one column, wide ones two."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _panel(self.view, options.max_width)


def title_of(runtime: str) -> str:
    """A runtime in words."""
    return {"inline": "in this process", "local": "Ray on this machine", "cluster": "Ray cluster"}.get(runtime, runtime)


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of ``values`` in at most ``width`` characters, each the mean of its share; tall is large.

    Logarithmic where they span more than a factor 20; a share without a finite number is a cross.
    """
    if not values or width < 1:
        return ""
    size = min(width, len(values))
    edges = [i * len(values) // size for i in range(size + 1)]
    means = [_mean(values[a:b]) for a, b in pairwise(edges)]
    finite = [mean for mean in means if mean is not None]
    if not finite:
        return _NOT_A_NUMBER * size
    low, high = min(finite), max(finite)
    if low > 0 and high / low > _LOG_FROM:
        means = [None if mean is None else math.log(mean) for mean in means]
        low, high = math.log(low), math.log(high)
    return "".join(_NOT_A_NUMBER if mean is None else _BARS[_level(mean, low, high)] for mean in means)


def duration(seconds: float) -> str:
    """``m:ss`` or ``h:mm:ss``."""
    whole = int(max(seconds, 0))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counts(by_reason: Mapping[str, int]) -> str:
    """``died 2, hung 1``; the most frequent first, nothing for zeros."""
    most_first = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{one_line(reason)} {count:,}" for reason, count in most_first if count)


def workers_line(workers: WorkersView) -> str:
    """The workers in a line of plain text."""
    parts = [f"workers {workers.alive}/{workers.wanted}"]
    stale = quantiles(workers.staleness)
    if stale is not None:
        parts.append(f"staleness {stale.p50}/{stale.p99}/{stale.max}")
    for name, text in (("restarts", counts(workers.restarts)), ("drops", counts(workers.drops))):
        if text:
            parts.append(f"{name} {text}")
    if workers.rerun:
        parts.append(f"rerun {workers.rerun:,}")
    if workers.quarantined:
        parts.append(f"set aside {len(workers.quarantined)}")
    return "  ".join(parts)


def _panel(view: View, width: int) -> Panel:
    inner = width - 4
    progress = view.progress
    workers = progress.workers if progress is not None else None
    parts: list[RenderableType] = [_grid((*view.head, ("round", _rounds(view, inner - _LABEL - 2))))]
    if progress is None:
        parts.append(_grid(_course(view, inner)))
    elif workers is None:
        parts.append(_grid((*_course(view, inner), *_learning(progress))))
    elif width < _WIDE:
        parts.append(_grid((*_course(view, inner), *_learning(progress), *_workers(workers, view.over))))
    else:
        left = int(inner * _LEFT_SHARE)
        both = Table.grid(expand=True, padding=(0, 2, 0, 0))
        both.add_column(width=left)
        both.add_column(ratio=1)
        both.add_row(_grid((*_course(view, left), *_learning(progress))), _grid(_workers(workers, view.over)))
        parts.append(both)
    if view.foot:
        parts.append(_grid(view.foot))
    return Panel(
        Group(*parts),
        title=Text(one_line(view.title), style="bold"),
        title_align="left",
        border_style="bright_black",
        width=width,
    )


def _grid(rows: Sequence[Row]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", width=_LABEL, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(label, value)
    return grid


def _rounds(view: View, width: int) -> RenderableType:
    if view.updates is None:
        return Text(f"{view.round:,}", style="bold")
    done = Text(f"{view.round:,}/{view.updates:,}", style="bold")
    share = Text(f"{100 * view.round / max(view.updates, 1):.0f} %")
    times = [] if view.elapsed_s is None else [duration(view.elapsed_s)]
    if view.left_s is not None:
        times.append(f"{duration(view.left_s)} left")
    time = Text(", ".join(times))
    bar = max(8, width - len(done) - len(share) - len(time) - 6)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(done, ProgressBar(total=max(view.updates, 1), completed=view.round, width=bar), share, time)
    return grid


def _course(view: View, width: int) -> tuple[Row, ...]:
    if view.progress is None and not view.course:
        return (("", Text("no round is done yet", style="dim")),)
    loss = Text(_number(view.loss), style="bold" if math.isfinite(view.loss) else "bold red")
    score = "" if view.score is None else f"score {_number(view.score)}"
    space = width - _LABEL - len(loss) - len(score) - 8
    line = Text.assemble(loss, "  ", (sparkline(view.course, max(8, min(space, 64))), "cyan"))
    rows: list[Row] = [("loss", Text.assemble(line, "  ", score) if score else line)]
    if view.quiet_s is not None and view.quiet_s >= _LEAST_QUIET_S:
        rows.append(("", Text(f"no round for {duration(view.quiet_s)}", style="yellow")))
    return tuple(rows)


def _learning(progress: Progress) -> tuple[Row, ...]:
    skipped = int(_finite(progress.metrics.get("skipped", 0.0)))
    rows: list[Row] = [
        ("horizon", Text(f"{progress.horizon:,}, stage {progress.stage + 1} of {progress.stages}")),
        ("speed", Text(f"{progress.inner_steps_per_s:,.0f} inner steps/s")),
    ]
    if skipped:
        rows.append(("skipped", Text(f"{skipped:,} updates, gradient not finite", style="yellow")))
    return tuple(rows)


def _workers(workers: WorkersView, over: bool) -> tuple[Row, ...]:
    missing = workers.alive < workers.wanted
    ready = Text(
        f"{workers.alive} of {workers.wanted} {'were ' if over else ''}ready",
        style="" if over else "yellow" if missing else "green",
    )
    stale = quantiles(workers.staleness)
    age = "-" if stale is None else f"p50 {stale.p50}, p99 {stale.p99}, max {stale.max} versions"
    restarts, drops = counts(workers.restarts), counts(workers.drops)
    lost = [f"dropped {drops}"] if drops else []
    lost += [f"made again {workers.rerun:,}"] if workers.rerun else []
    rows: list[Row] = [
        ("workers", Text.assemble(ready, f", {workers.in_flight:,} calls out")),
        ("learner", Text(f"idle {100 * _finite(workers.learner_idle):.0f} % of the time")),
        ("staleness", Text(age)),
        ("restarts", _fault(restarts)),
        ("segments", _fault(", ".join(lost), "none lost")),
    ]
    if workers.quarantined:
        rows.append(("set aside", Text(one_line("; ".join(workers.quarantined)), style="red")))
    return tuple(rows)


def _fault(text: str, none: str = "none") -> Text:
    return Text(text, style="yellow") if text else Text(none, style="dim")


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _level(value: float, low: float, high: float) -> int:
    return round((value - low) / (high - low) * (len(_BARS) - 1)) if high > low else 0
