"""``rayl2o evaluate``: rules side by side on the same initialisations and minibatches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from rayl2o.cli.options import Data, Json, Settings, Task, Workers, one_thread
from rayl2o.cli.output import Output, number, output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.evaluate.runner import Result, Run
    from rayl2o.rules.files import LoadedRule
    from rayl2o.tasks.base import TaskFamily


def verb(
    rules: Annotated[
        list[str], typer.Argument(metavar="RULE...", help="A rule file, a run's folder, or e.g. adam:lr=0.01.")
    ],
    task: Task = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="All tasks of a suite instead of one.", show_default=False)
    ] = None,
    data: Data = None,
    settings: Settings = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Horizon: losses per run.")] = 1000,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds.")] = 10,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="First seed; the others follow.")] = 0,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Compare rules on a task or a suite; the first rule is the reference of the paired differences."""
    if (task is None) == (suite is None):
        raise UserError(
            "say where to evaluate", value=task if suite is None else suite, mend="give either --task or --suite"
        )
    doubled = sorted({rule for rule in rules if rules.count(rule) > 1})
    if doubled:
        raise UserError("a rule stands twice", value=doubled[0], mend="name each rule once")
    one_thread()
    from rayl2o.cli.rule_argument import load

    with output(as_json) as says:
        loaded = {rule: load(rule) for rule in rules}
        families = _families(task, suite, data, settings or [])
        done = _run(loaded, families, range(first_seed, first_seed + seeds), steps, workers, says)
        trained_on = {str(one.card.get("task")) for one in loaded.values()}
        _tell(done, rules[0], trained_on, says)


def _families(task: str | None, suite_name: str | None, data: str | None, settings: list[str]) -> dict[str, TaskFamily]:
    from rayl2o.cli.task_argument import family
    from rayl2o.evaluate.suites import suite

    names = (str(task),) if suite_name is None else suite(suite_name).tasks
    return {name: family(name, data, settings) for name in names}


def _run(
    loaded: dict[str, LoadedRule], families: dict[str, TaskFamily], seeds: range, steps: int, workers: int, says: Output
) -> list[Run]:
    from rayl2o.cli.progress import followed
    from rayl2o.cli.rule_argument import kind_of
    from rayl2o.evaluate.pmap import process_map
    from rayl2o.evaluate.runner import Contender, runs

    contenders = [Contender(label, one.rule, one.phi, kind_of(one)) for label, one in loaded.items()]
    pmap = map if workers == 1 else process_map(workers)
    coming = runs(contenders, families, seeds, steps, pmap=pmap)
    total = len(contenders) * len(families)
    return list(followed(coming, total, "evaluated", lambda run: f"{run.rule} on {run.task}", says.err))


def _tell(done: list[Run], reference: str, trained_on: set[str], says: Output) -> None:
    from rayl2o.evaluate.runner import results

    rows = results(done)
    several = len(done[0].seeds) > 1
    data = {"results": [row.to_json() for row in rows]}
    if says.as_json or not several:
        says.result(data, _plain_table(rows))
        return
    from rayl2o.evaluate.comparison import compare  # loads scipy.stats: a second that JSON need not pay
    from rayl2o.evaluate.table import result_table

    names = short_names([run.rule for run in done])
    named = [replace(run, rule=names[run.rule]) for run in done]
    says.result(data, result_table(compare(named, names[reference], trained_on)))


def short_names(rules: list[str]) -> dict[str, str]:
    """For a table: paths by their last two parts, where that leaves them apart."""
    short = {rule: "/".join(Path(rule).parts[-2:]) if "/" in rule else rule for rule in dict.fromkeys(rules)}
    return short if len(set(short.values())) == len(short) else {rule: rule for rule in rules}


def _plain_table(rows: list[Result]) -> Table:
    """Losses of a single seed: there is nothing to estimate a spread from."""
    table = Table(caption="one seed: no intervals; ln of the mean minibatch loss of the last 20 steps at each mark")
    for name in ("task", "rule"):
        table.add_column(name)
    for name in ("mean loss", *rows[0].log_loss):
        table.add_column(name, justify="right")
    table.add_column("status")
    for row in rows:
        logs = (number(value, 3) for value in row.log_loss.values())
        table.add_row(*map(Text, (row.task, row.rule, number(row.mean_loss), *logs, row.status)))
    return table
