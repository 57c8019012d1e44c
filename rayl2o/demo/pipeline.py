"""``rayl2o demo``: meta-train, distil, fine-tune, tune the classic rivals, compare on fresh seeds, write a report."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from rayl2o.checkpoint import replace_file
from rayl2o.config import RunConfig, load
from rayl2o.demo.place import PLACES, Place
from rayl2o.demo.presentation import Findings, report_data
from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.comparison import Row, compare
from rayl2o.evaluate.report import write
from rayl2o.evaluate.runner import Contender, Run, runs
from rayl2o.evaluate.table import result_table
from rayl2o.evaluate.tuning import Tuned, TuningJob, tune_all
from rayl2o.rules.files import LoadedRule, save_rule
from rayl2o.run import TrainResult, trained_rule
from rayl2o.symbolic.distill import Distillation, distill
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.finetune import FinetuneConfig
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.draw import one_of_each
from rayl2o.tasks.registry import task
from rayl2o.telemetry import Progress as RunProgress

HORIZON = 1000
SCORING_SEEDS = {"digits": tuple(range(1000, 1020)), "mnist": tuple(range(1000, 1010))}
"""Never tuned on. MNIST has fewer because its comparison is most of what the demo computes there."""
TUNING_SEEDS = (1, 2, 3)
CLASSIC = ("adam", "momentum", "rmsprop")
TRAINED_TASK = "mlp-orig"
TASKS = {
    "mlp-orig": "the task that was trained on, fresh initialisations",
    "mlp-relu": "not trained on: another activation",
    "mlp-deeper": "not trained on: one more hidden layer",
}
NETWORK = "rnnprop (learned)"


@dataclass(frozen=True)
class DemoConfig:
    """Settings of a demo.

    Attributes:
        data: ``digits`` (embedded) or ``mnist`` (needs RAYL2O_DATA).
        out: Folder of the results; a demo's earlier results there are replaced.
        seed: Seed of meta-training and distillation; scoring seeds never change.
        preset: What is trained; empty means ``demo-<data>``.
        overrides: ``key=value`` changes to the preset.
        horizon: Inner steps of tuning, selection and comparison.
        draws: Settings tried for each classic rule on each task.
        tuning_updates: Updates of the formula's coefficients.
        engine: Searches the formulas.
        runtime: ``local`` (Ray on this machine) or ``inline`` (no Ray); the numbers are the same.
    """

    data: str = "digits"
    out: Path = Path("runs/demo")
    seed: int = 0
    preset: str = ""
    overrides: tuple[str, ...] = ()
    horizon: int = HORIZON
    draws: int = 40
    tuning_updates: int = 150
    engine: str = "evolved"
    runtime: str = "local"

    def __post_init__(self) -> None:
        if self.runtime not in PLACES:
            raise unknown_name("runtime of the demo", self.runtime, PLACES)
        if self.data not in ("digits", "mnist"):
            raise unknown_name("data set", self.data, ("digits", "mnist"))

    @property
    def scoring_seeds(self) -> tuple[int, ...]:
        """Fresh seeds that everyone is compared on."""
        return SCORING_SEEDS[self.data]

    def run_config(self) -> RunConfig:
        """What is trained, with which seed."""
        return load(self.preset or f"demo-{self.data}", (f"seed={self.seed}", *self.overrides))

    def families(self) -> dict[str, TaskFamily]:
        """Tasks that are compared on, the trained one first."""
        return {name: task(name, data=self.data) for name in TASKS}


@dataclass(frozen=True)
class DemoResult:
    """How a demo ended."""

    report: Path
    seconds: float
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """The machine-readable contract of ``rayl2o demo``."""
        names = ("rule", "kind", "task", "trained_on", "mean_loss", "low", "high")
        table = [{name: row.to_json()[name] for name in names} for row in self.rows]
        return {"report": str(self.report), "seconds": round(self.seconds, 1), "table": table}

    @property
    def table(self) -> Table:
        """The table of results for a terminal."""
        return result_table(self.rows)


def run_demo(config: DemoConfig, console: Console) -> DemoResult:
    """The whole path. Meta-training and distillation use one core; the classic rules are tuned on the others meanwhile.

    Args:
        config: Settings.
        console: Where live progress goes.

    Raises:
        UserError: On a bad setting, missing data, or an output folder that is not a demo's.
    """
    begun = time.perf_counter()
    run_config, families = config.run_config(), config.families()
    for family in families.values():
        family.build(one_of_each(family))  # missing data ends here, before any work
    _clear(config.out)
    place = PLACES[config.runtime]
    with place() as where, _progress(console) as progress, ThreadPoolExecutor(1) as background:
        pending = _tune_meanwhile(config, families, where, progress, background)
        trained, result = _train(run_config, config.out / "train", where, progress)
        distillation = _distil(config, trained, families[TRAINED_TASK], progress)
        tuned = pending.result()
        found = _compare(config, trained, distillation, tuned, families, where, progress)
    rows = compare(found, NETWORK, [TRAINED_TASK])
    _write_rules(config.out, distillation)
    seconds = time.perf_counter() - begun
    report = config.out / "report.html"
    findings = Findings(run_config, result, distillation, tuple(tuned), tuple(found), tuple(rows), seconds)
    write(report, report_data(findings, TASKS, TRAINED_TASK, NETWORK, config.horizon, _command(config)))
    done = DemoResult(report, seconds, tuple(rows))
    _write_json(config.out / "demo.json", done.to_json())
    return done


def contenders(trained: LoadedRule, distillation: Distillation, tuned: Sequence[Tuned]) -> list[Contender]:
    """Who is compared on one task: the network, the formula's three columns, the classic rules tuned on that task."""
    formulas = [
        ("formula (distilled)", distillation.distilled),
        ("formula (one gain)", distillation.gained),
        ("formula (tuned)", distillation.tuned),
    ]
    own = [Contender(NETWORK, trained.rule, trained.phi, "learned")]
    own += [
        Contender(label, v.rule, v.rule.init_phi(torch.Generator()), "formula")
        for label, v in formulas
        if v is not None
    ]
    return own + [Contender(t.label, t.rule, {}, "classic") for t in tuned]


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<16}"), BarColumn(30), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TextColumn("[dim]{task.fields[note]}"), console=console)


def _clear(out: Path) -> None:
    """Makes room for the results; refuses to touch a folder that holds anything else."""
    if out.exists() and any(out.iterdir()) and not (out / "train").is_dir():
        raise UserError("the output folder holds other files", value=str(out), mend="give an empty or new --out")
    try:
        shutil.rmtree(out / "train", ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError("the output folder cannot be made", value=str(out), mend=str(error)) from error


def _tune_meanwhile(
    config: DemoConfig,
    families: Mapping[str, TaskFamily],
    where: Place,
    progress: Progress,
    background: ThreadPoolExecutor,
) -> Future[list[Tuned]]:
    jobs = [
        TuningJob(kind, name, family, TUNING_SEEDS, config.scoring_seeds, config.horizon, config.draws)
        for name, family in families.items()
        for kind in CLASSIC
    ]
    bar = progress.add_task("tune rivals", total=len(jobs), note=f"{config.draws} draws each, in the background")
    meanwhile = where.spread(1)

    def work() -> list[Tuned]:
        tuned = []
        for one in tune_all(jobs, meanwhile):
            tuned.append(one)
            progress.update(bar, advance=1, note=f"{one.task}: {one.label} {one.score:.4f}")
        return tuned

    return background.submit(work)


def _train(run_config: RunConfig, out: Path, where: Place, progress: Progress) -> tuple[LoadedRule, TrainResult]:
    bar = progress.add_task("meta-train", total=run_config.updates, note="")

    def on_round(now: RunProgress) -> None:
        progress.update(bar, completed=now.round, note=f"loss {now.metrics['loss']:.3f}, horizon {now.horizon}")

    result = where.train(run_config, out, on_round)
    return trained_rule(out), result


def _distil(config: DemoConfig, trained: LoadedRule, family: TaskFamily, progress: Progress) -> Distillation:
    bar = progress.add_task("distil", total=1, note="table, fit, guards, closed loop, gain, fine-tuning")
    tuning = FinetuneConfig(updates=config.tuning_updates)
    settings = DistillConfig(seed=config.seed, horizon=config.horizon, engine=config.engine, finetune=tuning)
    found = distill(trained.rule, trained.phi, family, settings)
    progress.update(bar, advance=1, note=f"{found.selected.complexity} nodes, R2 {found.selected.r2_val:.3f}")
    return found


def _compare(
    config: DemoConfig,
    trained: LoadedRule,
    distillation: Distillation,
    tuned: Sequence[Tuned],
    families: Mapping[str, TaskFamily],
    where: Place,
    progress: Progress,
) -> list[Run]:
    per_task = {name: contenders(trained, distillation, [t for t in tuned if t.task == name]) for name in families}
    total = sum(len(group) for group in per_task.values())
    bar = progress.add_task("compare", total=total, note=f"{len(config.scoring_seeds)} fresh seeds")
    found = []
    for one in runs(per_task, families, config.scoring_seeds, config.horizon, pmap=where.spread(0)):
        found.append(one)
        progress.update(bar, advance=1, note=f"{one.task}: {one.rule}")
    return found


def _write_rules(out: Path, distillation: Distillation) -> None:
    for name in ("distilled", "gained", "tuned"):
        variant = getattr(distillation, name)
        if variant is not None:
            save_rule(out / f"formula-{name}", variant.rule, {}, {})
    _write_json(out / "front.json", distillation.front.to_json())


def _write_json(path: Path, data: object) -> None:
    replace_file(path, lambda file: file.write((json.dumps(data, indent=1) + "\n").encode()))


def _command(config: DemoConfig) -> str:
    inline = " --runtime inline" if config.runtime == "inline" else ""
    return f"rayl2o demo --data {config.data} --seed {config.seed} --out {config.out}{inline}"
