"""``rayl2o finetune``: tunes the constants and the gain of a formula on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rayl2o.cli.options import Data, Json, Out, Settings, Task, first_free, one_thread
from rayl2o.cli.output import number, output
from rayl2o.errors import UserError


def verb(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The file of a formula.")],
    task: Task = None,
    data: Data = None,
    settings: Settings = None,
    horizon: Annotated[int, typer.Option("--horizon", min=20, help="Steps the formula is meant for.")] = 1000,
    updates: Annotated[int, typer.Option("--updates", min=1, help="Updates of the constants.")] = 150,
    instances: Annotated[int, typer.Option("--instances", min=1, help="Runs side by side in an episode.")] = 2,
    held_out: Annotated[int, typer.Option("--held-out", min=1, help="Runs that choose the iterate.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Every draw derives from it.")] = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Tune a formula's constants and gain by returns-to-go; the best iterate on held-out runs is kept, the start included."""
    if task is None:
        raise UserError("say on which task to tune", value=task, mend="give --task")
    one_thread()
    from rayl2o.cli.progress import waiting
    from rayl2o.cli.rule_argument import load
    from rayl2o.cli.task_argument import family
    from rayl2o.rules.files import save_rule
    from rayl2o.rules.symbolic import SymbolicRule
    from rayl2o.symbolic.finetune import FinetuneConfig, finetune
    from rayl2o.symbolic.runs import Runs

    with output(as_json) as says:
        start = load(rule).rule
        if not isinstance(start, SymbolicRule):
            raise UserError("only a formula can be fine-tuned", value=rule, mend="distil the rule first")
        chosen = family(task, data, settings or [])
        folder = out if out is not None else first_free(Path("runs"), "finetune")
        with waiting(f"tuning {rule} on {task}, horizon {horizon}, {updates} updates", says.err):
            tuned = finetune(
                start,
                Runs(chosen, seed, "tune", instances),
                Runs(chosen, seed, "select", held_out),
                horizon,
                FinetuneConfig(updates=updates),
            )
        card = {**start.card, "tuned_from": rule, "task": task, "horizon": horizon, "updates": tuned.update}
        path = save_rule(folder / "rule", tuned.rule, {}, card)
        result = {**tuned.to_json(), "rule": str(path)}
        says.result(
            result,
            f"mean loss on held-out runs: {number(tuned.history[0][1])} before, {number(tuned.score.mean_loss)} after",
            f"kept the iterate after {tuned.update} of {updates} updates",
            tuned.rule.pretty(),
            f"saved as {path}",
        )
