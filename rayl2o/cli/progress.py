"""Progress on stderr: live where there is a terminal, a line now and then where there is none."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from rayl2o.cli.board import Board, View, title_of, workers_line
from rayl2o.cli.output import one_line
from rayl2o.config import RunConfig
from rayl2o.telemetry import Progress, WorkersView

T = TypeVar("T")
Follow = Callable[[Progress], None]

_RECENT = 192
_PACE = 32
"""Rounds by which the remaining time is told."""
_QUIET = 5.0
"""A pause so many times the usual one is shown."""
_PLAIN_EVERY = 0.1
"""Share of the updates between two lines where there is no terminal."""


@contextmanager
def train_progress(config: RunConfig, console: Console) -> Iterator[Follow]:
    """A callback for each round: a live panel, or a line now and then and one for every fault."""
    course = Course(config)
    if not console.is_terminal:
        yield _plain_lines(course, console)
        return
    with Live(get_renderable=lambda: Board(course.view()), console=console, refresh_per_second=2):
        try:
            yield course.take
        finally:
            course.stop()


def followed(items: Iterable[T], total: int, title: str, name: Callable[[T], str], console: Console) -> Iterator[T]:
    """The items as they come, with a bar or a line for each."""
    if not console.is_terminal:
        for done, item in enumerate(items, start=1):
            console.print(f"{title} {done}/{total}: {name(item)}", markup=False)
            yield item
        return
    columns = (SpinnerColumn(), TextColumn(title), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Bars(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        for item in items:
            bar.update(task, advance=1, description=name(item))
            yield item


@contextmanager
def waiting(text: str, console: Console) -> Iterator[None]:
    """A spinner, or one line, around work whose end cannot be foreseen."""
    if console.is_terminal:
        with Bars(
            SpinnerColumn(), TextColumn(text, markup=False), TimeElapsedColumn(), console=console, transient=True
        ) as bar:
            bar.add_task("", total=None)
            yield
    else:
        console.print(text, markup=False)
        yield


class Course:
    """What the panel shows of a run, gathered round by round; ``clock`` counts seconds."""

    def __init__(self, config: RunConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._title = f"{config.rule.kind} on {config.task.name}, {title_of(config.runtime.kind)}"
        self._updates = config.updates
        self._losses: deque[float] = deque(maxlen=_RECENT)
        self._rounds: deque[tuple[float, int]] = deque(maxlen=_PACE)
        self._now: Progress | None = None
        self._score: float | None = None
        self._begun = clock()
        self._ended: float | None = None
        self._lock = threading.Lock()  # the panel is drawn by a thread of its own

    def take(self, progress: Progress) -> None:
        """A round is done."""
        with self._lock:
            self._losses.append(progress.metrics["loss"])
            self._rounds.append((self._clock(), progress.round))
            self._score = progress.metrics.get("score", self._score)
            self._now = progress

    def stop(self) -> None:
        """The run is over: no time is left and none goes by."""
        self._ended = self._clock()

    def view(self) -> View:
        """The panel as of now."""
        with self._lock:
            return self._view()

    def _view(self) -> View:
        now, clock = self._now, self._clock() if self._ended is None else self._ended
        if now is None:
            return View(self._title, updates=self._updates, elapsed_s=clock - self._begun)
        (first_at, first), (last_at, last) = self._rounds[0], self._rounds[-1]
        pace = (last_at - first_at) / (last - first) if last > first else None
        quiet = clock - last_at
        going = pace if self._ended is None and now.round < now.updates else None
        return View(
            self._title,
            round=now.round,
            updates=now.updates,
            loss=now.metrics["loss"],
            course=tuple(self._losses),
            progress=now,
            score=self._score,
            elapsed_s=clock - self._begun,
            left_s=max(0.0, (now.updates - now.round) * going - quiet) if going is not None else None,
            quiet_s=quiet if going is not None and quiet > _QUIET * going else None,
        )

    def line(self) -> str:
        """The last round in a line of plain text."""
        now = self._now
        if now is None:
            return ""
        parts = [
            f"round {now.round}/{now.updates}",
            f"loss {now.metrics['loss']:.3g}",
            f"horizon {now.horizon} ({now.stage + 1}/{now.stages})",
        ]
        if self._score is not None:
            parts.append(f"score {self._score:.3g}")
        if now.metrics.get("skipped"):
            parts.append(f"skipped {now.metrics['skipped']:.0f}")
        parts.append(f"{now.inner_steps_per_s:,.0f} inner steps/s")
        if now.workers is not None:
            parts.append(workers_line(now.workers))
        return "  ".join(parts)


def faults(before: WorkersView, now: WorkersView) -> list[str]:
    """What went wrong between two views, a line each. Drops are told when a reason comes up first: they may be many."""
    lines = [
        f"{count - before.restarts.get(reason, 0)} started again: {reason} ({now.alive}/{now.wanted} workers ready)"
        for reason, count in now.restarts.items()
        if count > before.restarts.get(reason, 0)
    ]
    lines += [
        f"segments not learned from: {reason}"
        for reason, count in now.drops.items()
        if count and not before.drops.get(reason)
    ]
    lines += [f"task set aside: {task}" for task in now.quarantined if task not in before.quarantined]
    return [one_line(line) for line in lines]


def _plain_lines(course: Course, console: Console) -> Follow:
    before = WorkersView()

    def follow(progress: Progress) -> None:
        nonlocal before
        course.take(progress)
        if progress.workers is not None:
            for line in faults(before, progress.workers):
                console.print(f"round {progress.round}: {line}", markup=False)
            before = progress.workers
        every = max(1, round(progress.updates * _PLAIN_EVERY))
        if progress.round % every == 0 or "score" in progress.metrics:
            console.print(course.line(), markup=False)

    return follow
