"""What augmentations do to a meta-trained rule: ``python benchmarks/augmentation.py`` (15 trainings of half a minute each).

Each rule is trained on MLP-orig on digits, with an augmentation or a delay or neither, from three meta-seeds, and then run on
tasks that it may not have seen. Writes ``benchmarks/results/augmentation.json``; docs/augmentation.md shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rayl2o.config import load
from rayl2o.meta.rounds import finished, fresh_state, result, run_round
from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.delayed import delayed
from rayl2o.rules.registry import make
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.augment.augmented import Augmented
from rayl2o.tasks.augment.base import Augmentation
from rayl2o.tasks.augment.convex import Convex
from rayl2o.tasks.augment.loss_rescaling import LossRescaling
from rayl2o.tasks.augment.scaling import Scaling
from rayl2o.tasks.registry import task
from rayl2o.unroll.closed_loop import closed_loop

RESULTS = Path(__file__).parent / "results" / "augmentation.json"
SEEDS = (0, 1, 2)
HORIZON, INSTANCES = 500, 4
LV: tuple[Augmentation, ...] = (Scaling(), Convex(scaling=1.0, variant="code"))


@dataclass(frozen=True)
class Row:
    """A way to train: the kind of rule, what its tasks are augmented with, and by how many steps its gradients are late."""

    kind: str
    name: str
    steps: tuple[Augmentation, ...] = ()
    delay: int = 0


@dataclass(frozen=True)
class Column:
    """What a rule is run on: MLP-orig with another setting, augmented, late; losses are divided by ``unit``."""

    steps: tuple[Augmentation, ...] = ()
    delay: int = 0
    unit: float = 1.0
    task: str = "mlp-orig"
    init_std: float = 0.01


ROWS = (
    Row("rnnprop-small", "nothing"),
    Row("rnnprop-small", "scaling, convex (Lv et al.)", LV),
    Row("rnnprop-small", "delay 3", delay=3),
    Row("dm-small", "nothing"),
    Row("dm-small", "loss-rescaling 0.01..100", (LossRescaling(0.01, 100.0),)),
)
COLUMNS: Mapping[str, Column] = {
    "plain": Column(),
    "loss x 100": Column((LossRescaling(100.0, 100.0),), unit=100.0),
    "scaled": Column((Scaling(),)),
    "3 late": Column(delay=3),
    "6 late": Column(delay=6),
    "relu, std 0.1": Column(task="mlp-relu", init_std=0.1),
    "deeper, std 0.1": Column(task="mlp-deeper", init_std=0.1),
}


def trained(row: Row, seed: int) -> tuple[Rule, Phi]:
    """The rule, without its delay, and its weights, by preset ``quickstart`` with four instances."""
    config = load("quickstart", [f"seed={seed}", f"instances={INSTANCES}", f"rule.kind={row.kind}"])
    rule = make(row.kind, config.rule.settings)
    late, family = delayed(rule, row.delay), Augmented(task("mlp-orig", data="digits"), row.steps)
    state = fresh_state(late, family, config, "augmentation")
    while not finished(config, state):
        state, _ = run_round(late, family, config, state)
    return rule, result(config, state)


def score(rule: Rule, phi: Phi, column: Column) -> float:
    """Mean loss over the horizon and the instances; a diverged one is charged as everywhere."""
    family = Augmented(task(column.task, data="digits", init_std=column.init_std), column.steps)
    draws = generator("benchmark", "augmentation")
    tasks = family.build([family.sample(draws) for _ in range(INSTANCES)])

    def seeds(step: int) -> list[int]:
        return [derive_seed("benchmark", "batch", step, k) for k in range(INSTANCES)]

    starts = [derive_seed("benchmark", "init", k) for k in range(INSTANCES)]
    curves = closed_loop(delayed(rule, column.delay), phi, tasks, starts, seeds, HORIZON, loss_cap=1e6)
    return float(curves.loss.mean()) / column.unit


def main() -> None:
    """Trains and runs all."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = []
    for row in ROWS:
        rules = [trained(row, seed) for seed in SEEDS]
        scores = {name: [score(*rule, column) for rule in rules] for name, column in COLUMNS.items()}
        rows.append({"rule": row.kind, "trained with": row.name, "mean loss by meta-seed": scores})
        print(json.dumps(rows[-1]), flush=True)
    RESULTS.write_text(json.dumps({"horizon": HORIZON, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
