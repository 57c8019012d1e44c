"""Progress on stderr: live where there is a terminal, a line now and then where there is none."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rayl2o.config import RunConfig
from rayl2o.meta.rounds import TrainState

T = TypeVar("T")
Follow = Callable[[RunConfig, TrainState, dict[str, float]], None]

_BARS = "▁▂▃▄▅▆▇█"
_SPARK = 24
_WIDE = 120
"""Columns of a terminal that hold the bar and the course of the loss too."""
_PLAIN_EVERY = 0.1
"""Share of the updates between two lines where there is no terminal."""


@contextmanager
def train_progress(config: RunConfig, console: Console) -> Iterator[Follow]:
    """A callback for each round: rounds, loss with its recent course, horizon of the stage, score, inner steps per second."""
    board = _Board(config)
    if not console.is_terminal:
        yield _plain_lines(board, console)
        return
    wide = console.width >= _WIDE
    columns = (
        SpinnerColumn(),
        TextColumn("round"),
        MofNCompleteColumn(),
        *((BarColumn(bar_width=24),) if wide else ()),
        TextColumn("{task.fields[line]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as bar:
        task = bar.add_task("", total=config.updates, line="")

        def follow(config: RunConfig, state: TrainState, metrics: dict[str, float]) -> None:
            board.take(state, metrics)
            bar.update(task, completed=state.round, line=board.line(config, spark=wide))

        yield follow


def followed(items: Iterable[T], total: int, title: str, name: Callable[[T], str], console: Console) -> Iterator[T]:
    """The items as they come, with a bar or a line for each."""
    if not console.is_terminal:
        for done, item in enumerate(items, start=1):
            console.print(f"{title} {done}/{total}: {name(item)}", markup=False)
            yield item
        return
    columns = (SpinnerColumn(), TextColumn(title), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        for item in items:
            bar.update(task, advance=1, description=name(item))
            yield item


@contextmanager
def waiting(text: str, console: Console) -> Iterator[None]:
    """A spinner, or one line, around work whose end cannot be foreseen."""
    if console.is_terminal:
        with Progress(
            SpinnerColumn(), TextColumn(text, markup=False), TimeElapsedColumn(), console=console, transient=True
        ) as bar:
            bar.add_task("", total=None)
            yield
    else:
        console.print(text, markup=False)
        yield


class _Board:
    """What the progress line shows."""

    def __init__(self, config: RunConfig) -> None:
        self._losses: deque[float] = deque(maxlen=max(_SPARK, min(config.updates, 8 * _SPARK)))
        self._metrics: dict[str, float] = {}
        self._score: float | None = None
        self._begun: tuple[float, int] | None = None
        self._rate = 0.0

    def take(self, state: TrainState, metrics: dict[str, float]) -> None:
        self._losses.append(metrics["loss"])
        self._metrics = metrics
        self._score = metrics.get("score", self._score)
        now = time.perf_counter()
        if self._begun is None:
            self._begun = (now, state.inner_steps)
        else:
            self._rate = (state.inner_steps - self._begun[1]) / max(now - self._begun[0], 1e-9)

    def line(self, config: RunConfig, spark: bool) -> str:
        stages = config.curriculum.n_train
        stage = int(self._metrics["stage"])
        parts = [f"loss {self._metrics['loss']:.3g}"]
        if spark:
            parts.append(sparkline(list(self._losses), _SPARK))
        parts.append(f"horizon {stages[stage]} ({stage + 1}/{len(stages)})")
        if self._score is not None:
            parts.append(f"score {self._score:.3g}")
        if self._metrics["skipped"]:
            parts.append(f"skipped {int(self._metrics['skipped'])}")
        if self._rate:
            parts.append(f"{self._rate:,.0f} inner steps/s")
        return "  ".join(parts)


def _plain_lines(board: _Board, console: Console) -> Follow:
    def follow(config: RunConfig, state: TrainState, metrics: dict[str, float]) -> None:
        board.take(state, metrics)
        every = max(1, round(config.updates * _PLAIN_EVERY))
        if state.round % every == 0 or "score" in metrics:
            console.print(f"round {state.round}/{config.updates}  {board.line(config, spark=False)}", markup=False)

    return follow


def sparkline(values: list[float], width: int) -> str:
    """The course of ``values`` in at most ``width`` block characters, each the mean of its share; tall is large."""
    if not values:
        return ""
    size = min(width, len(values))
    edges = [i * len(values) // size for i in range(size + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    span = high - low
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1)) if span > 0 else 0] for mean in means)
