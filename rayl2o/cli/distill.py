"""``rayl2o distill``: from a learned rule to a formula."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rayl2o.cli.options import Data, Json, Out, Settings, Task, Workers, first_free, one_thread
from rayl2o.cli.output import number, output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.rules.files import LoadedRule
    from rayl2o.symbolic.distill import Distillation


def verb(
    rule: Annotated[str, typer.Argument(metavar="RUN_OR_RULE", help="A run's folder or the file of a learned rule.")],
    task: Task = None,
    data: Data = None,
    settings: Settings = None,
    horizon: Annotated[
        int | None,
        typer.Option("--horizon", min=20, help="Steps the formula is meant for; default: as trained, else 1000."),
    ] = None,
    updates: Annotated[int, typer.Option("--updates", min=0, help="Updates of fine-tuning; 0 turns it off.")] = 150,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Every draw derives from it.")] = 0,
    workers: Workers = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Distil a learned rule into formulas; the folder holds the front and the distilled, gained and tuned rules."""
    one_thread()
    from rayl2o.cli.front_table import columns_table, front_table
    from rayl2o.cli.progress import waiting
    from rayl2o.cli.rule_argument import load
    from rayl2o.evaluate.pmap import process_map
    from rayl2o.symbolic.distill import DistillConfig, distill
    from rayl2o.symbolic.finetune import FinetuneConfig

    with output(as_json) as says:
        loaded = load(rule)
        if not loaded.phi or loaded.rule.kind == "symbolic":
            raise UserError(
                "only a learned rule can be distilled", value=rule, mend="name a run, or a file with weights"
            )
        name, chosen, trained = _task(loaded, task, data, settings or [])
        steps = horizon if horizon is not None else trained
        folder = out if out is not None else first_free(Path("runs"), "distill")
        if (folder / FRONT).exists():
            raise UserError("the folder holds a distillation already", value=str(folder), mend="give another --out")
        config = DistillConfig(seed=seed, horizon=steps, finetune=FinetuneConfig(updates=updates))
        with waiting(f"distilling {rule} on {name}, horizon {steps}", says.err):
            found = distill(loaded.rule, loaded.phi, chosen, config, map if workers == 1 else process_map(workers))
        card = {"distilled_from": rule, "task": name, "horizon": steps, "seed": seed}
        files = _write(folder, found, card)
        data_out: dict[str, Any] = {**found.to_json(), "front": str(folder / FRONT), "rules": files}
        says.result(
            data_out,
            front_table(found.front, found.selected),
            columns_table(found.to_json()),
            *_ending(found, files, rule, name),
        )


FRONT = "front.json"


def _task(loaded: LoadedRule, task: str | None, data: str | None, settings: list[str]) -> tuple[str, Any, int]:
    """Name and family of the task, and the horizon of training: what the rule's card says unless options say otherwise."""
    from rayl2o.cli.task_argument import family

    trained_task = loaded.card.get("task")
    name = task if task is not None else trained_task
    if not isinstance(name, str):
        raise UserError("the rule does not say what it was trained on", value=loaded.name, mend="give --task")
    defaults = loaded.card.get("task_settings") if name == trained_task else None
    horizon = loaded.card.get("horizon")
    steps = horizon if isinstance(horizon, int) and horizon >= 20 else 1000
    return name, family(name, data, settings, defaults if isinstance(defaults, dict) else None), steps


def _write(folder: Path, found: Distillation, card: dict[str, Any]) -> dict[str, str]:
    """The rules as files, then the front."""
    import json
    from dataclasses import replace

    from rayl2o.checkpoint import replace_file
    from rayl2o.cli.output import strict
    from rayl2o.rules.files import save_rule

    variants = {name: getattr(found, name) for name in ("distilled", "gained", "tuned") if getattr(found, name)}
    files: dict[str, str] = {}
    for name, variant in variants.items():
        named = replace(variant.rule, card={**card, "column": name, "selection_loss": variant.score.mean_loss})
        files[name] = str(save_rule(folder / name, named, {}, dict(named.card)))
    text = json.dumps(strict({**found.to_json(), "card": card}), indent=1, allow_nan=False)
    replace_file(folder / FRONT, lambda file: file.write(text.encode()))
    return files


def _ending(found: Distillation, files: dict[str, str], rule: str, task: str) -> list[Text]:
    """What the columns do not say, and what to do next."""
    measures, best = found.measures, list(files)[-1]
    network, formula = number(measures.network_tpf, 3), number(measures.formula_tpf, 3)
    nodes = "no candidate" if measures.mc is None else f"{measures.mc} nodes"
    lines = [
        f"TPF: network {network}, formula {formula}   MC at R2 {measures.mc_threshold:g}: {nodes}",
        getattr(found, best).rule.pretty(),
        *(f"{name:>10}  {path}" for name, path in files.items()),
        f"      next  rayl2o evaluate {files[best]} {rule} adam:lr=0.01 --task {task}",
        f"            rayl2o export {files[best]} --format python",
    ]
    return [Text(line) for line in lines]
