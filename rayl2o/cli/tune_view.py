"""What ``rayl2o tune`` shows: trials as they end on stderr, the winners as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rayl2o.cli.output import number
from rayl2o.cluster.study import StudyProgress, StudyResult
from rayl2o.cluster.study_best import BEST_YAML, Best
from rayl2o.cluster.study_config import BaselineStudy
from rayl2o.cluster.study_records import RESULTS
from rayl2o.cluster.study_symbolic import R2, SymbolicStudy
from rayl2o.cluster.symbolic_scoring import Comparison
from rayl2o.evaluate.statistics import Interval
from rayl2o.folder import RULE

_PLAIN_LINES = 20
"""Lines at most, besides failures, where there is no terminal."""
_FAILURES = 5


@contextmanager
def study_progress(console: Console) -> Iterator[Callable[[StudyProgress], None]]:
    """A callback for a study's progress: trials done, at work and failed, the best so far."""
    if not console.is_terminal:
        yield _plain_lines(console)
        return
    columns = (SpinnerColumn(), TextColumn("trial"), MofNCompleteColumn(), BarColumn(bar_width=24))
    with Progress(
        *columns, TextColumn("{task.fields[line]}", markup=False), TimeElapsedColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=None, line="starting")

        def follow(said: StudyProgress) -> None:
            bar.update(task, total=said.total, completed=said.done, line=_line(said))

        yield follow


def _plain_lines(console: Console) -> Callable[[StudyProgress], None]:
    def follow(said: StudyProgress) -> None:
        if said.doing:
            console.print(said.doing, markup=False)
        if said.newest is None:
            return
        every = max(1, said.total // _PLAIN_LINES)
        if said.newest.failed:
            console.print(f"{said.newest.name} failed ({said.newest.status}): {said.newest.error}", markup=False)
        if said.done % every == 0 or said.done == said.total:
            console.print(f"trial {said.done}/{said.total}  {_line(said)}", markup=False)

    return follow


def _line(said: StudyProgress) -> str:
    parts = [said.doing] if said.doing else []
    if said.running:
        parts.append(f"{said.running} at work")
    if said.failed:
        parts.append(f"{said.failed} failed")
    if said.best:
        name = min(said.best, key=lambda cell: said.best[cell])
        parts.append(f"best {number(said.best[name])} ({name})")
    return "  ".join(parts)


def study_view(done: StudyResult) -> list[RenderableType]:
    """The winners task by task, best first, what failed, and where the results lie."""
    of = "mean loss over the horizon"
    if isinstance(done.study, SymbolicStudy):
        of = "1 - R2" if done.study.metric == R2 else "mean loss"
    beside = [_beside(one.compared, of) for one in done.best if one.compared is not None]
    return [_table(done.best, of), *beside, *_failures(done), *(Text(line) for line in _next(done))]


def _table(best: Sequence[Best], of: str) -> Table:
    table = Table(caption=f"chosen on the tuning seeds; {of} on other seeds with its 95 % interval")
    for heading in ("task", "best setting"):
        table.add_column(heading)
    for heading in ("tuning seeds", "fresh seeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trials")
    table.add_column("note")
    for task in dict.fromkeys(one.task for one in best):
        group = sorted((one for one in best if one.task == task), key=_order)
        for i, one in enumerate(group):
            cells = (
                task if i == 0 else "",
                f"{one.optimizer}\n{_setting(one)}",
                number(one.tuning_loss),
                _scored(one),
                _trials(one),
                _note(one),
            )
            table.add_row(*map(Text, cells), style="bold" if i == 0 else "", end_section=i == len(group) - 1)
    return table


def _beside(found: Comparison, of: str) -> Table:
    """The tuned setting, the engine's default and the linear engine, on the same fits that chose nothing."""
    verdict = "better than" if found.beats_default else "no better than"
    table = Table(caption=f"{of} of every fit, lowest to highest; tuned is {verdict} the default")
    table.add_column("")
    for heading in (of, "minus default", "R2", "nodes", "CPU s", "diverged"):
        table.add_column(heading, justify="right")
    for one in found.standings:
        sound = [fit for fit in one.fits if not fit.error]
        cells = (
            one.name,
            _spread(one.by_fit),
            "" if one.against_default is None else _interval(one.against_default),
            _spread([fit.r2_test for fit in sound if fit.r2_test is not None]),
            _spread([fit.nodes for fit in sound], whole=True),
            _spread([fit.cpu_s for fit in sound]),
            f"{sum(fit.diverged for fit in sound)} of {sum(len(fit.per_seed) for fit in sound)}",
        )
        table.add_row(*map(Text, cells))
    return table


def _spread(values: Sequence[float], whole: bool = False) -> str:
    if not values:
        return "-"
    low, high = (str(int(end)) if whole else number(end, 3) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _interval(one: Interval) -> str:
    return f"{number(one.mean, 3)}\n{number(one.low, 3)} to {number(one.high, 3)}"


def _order(one: Best) -> float:
    return float("inf") if one.scored is None else one.scored.mean


def _scored(one: Best) -> str:
    if one.scored is None:
        return "-"
    return f"{number(one.scored.mean)}\n{number(one.scored.low)} to {number(one.scored.high)}"


def _setting(one: Best) -> str:
    return ", ".join(f"{name}={number(v) if isinstance(v, float) else v}" for name, v in one.setting.items())


def _trials(one: Best) -> str:
    parts = [str(one.trials)]
    if one.pruned:
        parts.append(f"{one.pruned} stopped early")
    if one.failed:
        parts.append(f"{one.failed} failed")
    return "\n".join(parts)


def _note(one: Best) -> str:
    if one.scored is None:
        return "no trial finished"
    notes = [f"{name} at the edge of its range" for name in one.on_edge]
    if one.diverged:
        notes.append(f"{one.diverged} scoring runs diverged")
    return "\n".join(notes)


def _failures(done: StudyResult) -> list[Text]:
    failed = done.failures
    lines = [Text(f"failed: {one.name} ({one.status}) {one.error}") for one in failed[:_FAILURES]]
    if len(failed) > _FAILURES:
        lines.append(Text(f"... and {len(failed) - _FAILURES} more, see the column error of the results"))
    return lines


def _next(done: StudyResult) -> list[str]:
    lines = [f"results  {done.out / RESULTS}", f"best     {done.out / BEST_YAML}"]
    if isinstance(done.study, SymbolicStudy):
        where = f"--task {done.study.task}{_options(done.study.task_settings)}"
        return [*lines, f"next     rayl2o distill {done.out / RULE}.json --engine {done.out / BEST_YAML} {where}"]
    if not isinstance(done.study, BaselineStudy):
        return [*lines, f"next     rayl2o train {done.out / BEST_YAML}"]
    winner = min(done.best, key=_order)
    return [*lines, f"next     rayl2o evaluate {winner.rule} --task {winner.task}{_options(done.study.task_settings)}"]


def _options(settings: Mapping[str, Any]) -> str:
    """A task's settings as the command line takes them."""
    return "".join(
        f" --data {value}" if name == "data" else f" --set {name}={json.dumps(value)}"
        for name, value in settings.items()
    )
