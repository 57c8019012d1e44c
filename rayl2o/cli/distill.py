"""``rayl2o distill``: from a learned rule to a formula."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rayl2o.cli.options import (
    Address,
    Data,
    EngineText,
    Json,
    Out,
    Runtime,
    Settings,
    Task,
    Workers,
    first_free,
    one_thread,
)
from rayl2o.cli.output import Output, number, output
from rayl2o.errors import UserError

if TYPE_CHECKING:
    from rayl2o.rules.files import LoadedRule
    from rayl2o.symbolic.distill import Distillation
    from rayl2o.symbolic.distill_config import DistillConfig
    from rayl2o.symbolic.tables import Tables


RuleArgument = Annotated[
    str, typer.Argument(metavar="RUN_OR_RULE", help="A run's folder or the file of a learned rule.")
]
Horizon = Annotated[
    int | None,
    typer.Option("--horizon", min=20, help="Steps the formula is meant for; default: as trained, else 1000."),
]
CpuSeconds = Annotated[
    float | None,
    typer.Option("--cpu-s", help="Ceiling of CPU seconds of one search; default: 10, or the preset's."),
]
Nodes = Annotated[
    int | None,
    typer.Option("--nodes", min=1, help="Nodes of the largest formula; default: 100, or the preset's."),
]
Searches = Annotated[int, typer.Option("--searches", min=1, help="Searches from different seeds, merged.")]
OperandMode = Annotated[
    str | None,
    typer.Option(
        "--operands", help="ema (current value and averages) or paper (20 lags); default: ema, or the preset's."
    ),
]
Signals = Annotated[
    list[str] | None,
    typer.Option("--signal", help="Read this one; repeatable; default: by the rule's kind.", show_default=False),
]
Sampling = Annotated[str, typer.Option("--sampling", help="strata (even over tensors and time) or windows (S's code).")]
Rows = Annotated[int, typer.Option("--rows", min=40, help="Rows of each table.")]
KeepTables = Annotated[bool, typer.Option("--tables", help="Keep the tables as Parquet files.")]
Updates = Annotated[int, typer.Option("--updates", min=0, help="Updates of fine-tuning; 0 turns it off.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Every draw derives from it.")]


def verb(
    rule: RuleArgument,
    task: Task = None,
    data: Data = None,
    settings: Settings = None,
    horizon: Horizon = None,
    engine: EngineText = "evolved",
    cpu_s: CpuSeconds = None,
    nodes: Nodes = None,
    searches: Searches = 1,
    operands: OperandMode = None,
    signals: Signals = None,
    sampling: Sampling = "strata",
    rows: Rows = 5000,
    tables: KeepTables = False,
    updates: Updates = 150,
    seed: Seed = 0,
    runtime: Runtime = None,
    address: Address = None,
    workers: Workers = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Distil a learned rule into formulas; the folder holds the front and the distilled, gained and tuned rules."""
    one_thread()
    from rayl2o.cli.engine_argument import budget_of, parsed
    from rayl2o.cli.front_document import FRONT
    from rayl2o.cli.progress import waiting
    from rayl2o.cli.rule_argument import load
    from rayl2o.symbolic.distill import distill
    from rayl2o.symbolic.distill_config import DistillConfig
    from rayl2o.symbolic.engines.registry import engine as engine_of
    from rayl2o.symbolic.finetune import FinetuneConfig

    with output(as_json) as says:
        loaded = load(rule)
        if not loaded.phi or loaded.rule.kind == "symbolic":
            raise UserError(
                "only a learned rule can be distilled", value=rule, mend="name a run, or a file with weights"
            )
        name, chosen, trained = _task(loaded, task, data, settings or [])
        folder = out if out is not None else first_free(Path("runs"), "distill")
        if (folder / FRONT).exists():
            raise UserError("the folder holds a distillation already", value=str(folder), mend="give another --out")
        searched, changes = parsed(engine)
        engine_of(searched, changes)  # refused before any work
        config = DistillConfig(
            seed=seed,
            horizon=horizon if horizon is not None else trained,
            sampling=sampling,
            collect=max(3, -(-rows // ROWS_PER_RUN)),
            per_tensor=16 if rows <= 3 * ROWS_PER_RUN else 64,
            rows=rows,
            engine=searched,
            engine_settings=changes,
            budget=budget_of(searched, cpu_s, nodes, DistillConfig().budget),
            search_seeds=tuple(range(searches)),
            finetune=FinetuneConfig(updates=updates),
            **_operands(searched, operands, signals),
        )
        with _spread(runtime, address, workers) as pmap, waiting(_title(rule, name, config), says.err):
            keep = _keeper(folder) if tables else None
            found = distill(loaded.rule, loaded.phi, chosen, config, pmap, keep)
        card = {"distilled_from": rule, "task": name, "horizon": config.horizon, "seed": seed, "engine": engine}
        _tell(says, folder, found, card)


REPORT = "report.html"
ROWS_PER_RUN = 20_000
"""Above so many rows for each of three runs, more runs are recorded, and more coordinates of each tensor."""


def _operands(engine: str, mode: str | None, signals: list[str] | None) -> dict[str, Any]:
    """What the options say of the operands, and of the rest what a preset says."""
    from rayl2o.symbolic.engines.preset import operand_settings
    from rayl2o.symbolic.engines.registry import resolve

    given = {"mode": mode, "signals": tuple(signals or ())}
    return {**operand_settings(resolve(engine).operands), **{name: value for name, value in given.items() if value}}


def _title(rule: str, task: str, config: DistillConfig) -> str:
    return f"distilling {rule} on {task}, horizon {config.horizon}, by {config.engine}"


@contextmanager
def _spread(runtime: str | None, address: str | None, workers: int) -> Iterator[Any]:
    """An ordered map in this process, in processes of this machine, or on Ray."""
    from rayl2o.cli.train import placed
    from rayl2o.evaluate.pmap import process_map
    from rayl2o.runtime import RuntimeConfig

    kind = runtime if runtime is not None else ("cluster" if address else "inline")
    if kind == "inline":
        yield map if workers == 1 else process_map(workers)
        return
    where = {"kind": kind, "address": address, "workers": workers}
    place = placed(RuntimeConfig(), where)
    from rayl2o.cluster.connect import connected
    from rayl2o.cluster.pmap import ray_map

    with connected(place):
        yield ray_map()


def _keeper(folder: Path) -> Any:
    """Writes tables as soon as they are recorded: a search that fails does not cost them."""

    def keep(tables: Tables) -> None:
        from rayl2o.symbolic.table_file import write_table

        folder.mkdir(parents=True, exist_ok=True)
        for name in ("train", "val", "test", "stretched"):
            table = getattr(tables, name)
            if table is not None:
                write_table(folder / f"{name}.parquet", table)

    return keep


def _tell(says: Output, folder: Path, found: Distillation, card: dict[str, Any]) -> None:
    from rayl2o.cli.front_document import FRONT
    from rayl2o.cli.front_table import columns_table, front_table, row

    files = _write(folder, found, card)
    for failed, why in found.failures.items():
        says.err.print(f"warning: {failed} failed, the front is that of the others: {why}", markup=False)
    members = found.front.candidates
    data: dict[str, Any] = {
        **found.to_json(),
        "front": [row(i, candidate) for i, candidate in enumerate(members)],
        "selected": next(i for i, c in enumerate(members) if c.expression == found.selected.expression),
        "formula": str(found.selected.expression),
        "file": str(folder / FRONT),
        "rules": files,
        "report": str(folder / REPORT),
    }
    says.result(
        data,
        front_table(found.front, found.selected),
        columns_table(found.to_json()),
        *_ending(found, files, card["distilled_from"], card["task"]),
        Text(f"    report  {folder / REPORT}"),
    )


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
    """The rules as files, then the front, then the page that draws it."""
    import json
    from dataclasses import replace

    from rayl2o.checkpoint import replace_file
    from rayl2o.cli.distillation_page import distillation_page
    from rayl2o.cli.front_document import FRONT, front_document
    from rayl2o.cli.output import strict
    from rayl2o.evaluate.distillation_report import write_distillation
    from rayl2o.rules.files import save_rule

    variants = {name: getattr(found, name) for name in ("distilled", "gained", "tuned") if getattr(found, name)}
    files: dict[str, str] = {}
    for name, variant in variants.items():
        named = replace(variant.rule, card={**card, "column": name, "selection_loss": variant.score.mean_loss})
        files[name] = str(save_rule(folder / name, named, {}, dict(named.card)))
    document = strict({**found.to_json(), "card": card})
    text = json.dumps(document, indent=1, allow_nan=False)
    replace_file(folder / FRONT, lambda file: file.write(text.encode()))
    command = f"rayl2o distill {card['distilled_from']} --out {folder}"
    write_distillation(folder / REPORT, distillation_page(front_document(document), command))
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
