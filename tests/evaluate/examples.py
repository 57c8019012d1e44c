"""Small tasks, runs and reports for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from rayl2o.evaluate.comparison import compare
from rayl2o.evaluate.front_data import FrontPoint, NetworkMarks
from rayl2o.evaluate.report_data import (
    Baseline,
    Formula,
    Insight,
    Number,
    ReportData,
    Stage,
    panels,
)
from rayl2o.evaluate.runner import Curves, Run
from rayl2o.symbolic.imitation_traces import Trace, Window
from rayl2o.symbolic.mapping_curves import Band, MappingCurve
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.base import Batch, TaskBatch, TaskSpec


@dataclass(frozen=True, eq=False)
class ShiftedBatch(QuadraticBatch):
    """A quadratic whose losses are moved by ``shift``, with a note of every seed it was asked with."""

    shift: float = 0.0
    seen: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        self.seen.append(("init", tuple(seeds)))
        return super().init_params(seeds)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        self.seen.append(("batch", tuple(seeds)))
        return super().draw_batch(seeds)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, grad = super().loss_and_grad(params, batch)
        return loss + self.shift, grad


@dataclass(frozen=True)
class Shifted:
    """A family of quadratics with curvature 1, so that SGD with lr 1 arrives in one step; see :class:`ShiftedBatch`."""

    shift: float = 0.0
    seen: list[tuple[str, tuple[int, ...]]] = field(default_factory=list, compare=False)

    base = Quadratic(3, 0.0, 0.0)

    @property
    def family(self) -> str:
        return "shifted"

    def sample(self, generator: torch.Generator) -> TaskSpec:
        spec = self.base.sample(generator)
        self.seen.append(("task", (spec.seed,)))
        return spec

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        batch = self.base.build(specs, device, dtype)
        return ShiftedBatch(batch.layout, batch.factor, batch.optimum, self.shift, self.seen)


def make_run(rule: str, kind: str, level: float, task: str = "mlp-orig", steps: int = 100, seeds: int = 6) -> Run:
    """A run whose mean loss is ``level``; the noise over seeds is the same for every rule, as pairing makes it."""
    rng = np.random.default_rng(3)
    noise, wobble = rng.normal(0, 0.2, (seeds, 1)), rng.normal(0, 0.01, (seeds, steps))
    decay = np.geomspace(3.0, 0.1, steps)[None]
    loss = (1 + noise) * decay * (1 + wobble)
    loss *= level / loss.mean()
    return Run(rule, kind, task, tuple(range(seeds)), Curves(loss, ("ok",) * seeds, np.full(seeds, steps)))


def runs_of(label: str = "rnnprop") -> list[Run]:
    """Five contenders on two tasks; one instance of the last diverged."""
    found = [
        make_run(name, kind, level, task)
        for task in ("mlp-orig", "mlp-relu")
        for name, kind, level in (
            (label, "learned", 0.07),
            ("formula (distilled)", "formula", 0.075),
            ("adam:lr=0.01,beta1=0.9", "classic", 0.08),
            ("momentum:lr=0.5", "classic", 0.2),
        )
    ]
    last = found[-1].curves
    status = ("diverged", *last.status[1:])
    return [*found[:-1], replace(found[-1], curves=Curves(last.loss, status, last.valid))]


def mapping(label: str = "g") -> MappingCurve:
    """Straight lines, the formula twice as steep."""
    x = tuple(float(i) for i in range(-3, 4))
    bands = [Band(*(tuple(s * v + d for v in x) for d in (-0.1, 0.0, 0.1))) for s in (-1.0, -2.0)]
    return MappingCurve(label, "of its own", x, bands[0], bands[1], 0.5, 12, f"the rest of {label}")


def trace(label: str = "layer.weight") -> Trace:
    """Two windows of three steps."""
    windows = (Window(0, (0.1, 0.2, 0.3), (0.1, 0.2, 0.2)), Window(97, (0.0, 0.0, 0.1), (0.0, 0.1, 0.1)))
    return Trace(label, 0, 100, 0.75, windows)


def report(label: str = "rnnprop") -> ReportData:
    """A report with every part filled in; ``label`` turns up wherever a rule is named."""
    found = runs_of(label)
    return ReportData(
        title=f"A report on {label}",
        summary="What was done.",
        reference=label,
        panels=panels(found, {"mlp-orig": "64-20-10"}, ["mlp-orig"]),
        rows=tuple(compare(found, label, ["mlp-orig"])),
        horizon=100,
        formula=Formula(
            "-0.01*m_tilde", r"-0.01 \, \tilde{m}_{t}", "3 nodes", 'SymbolicOptimizer.from_pretrained("f.json")'
        ),
        stages=(Stage(label, None, 0.07, 0.06, 0.08, "as trained"), Stage("distilled", 0.97, 0.075, 0.07, 0.08)),
        front=(
            FrontPoint(3, 0.9, 0.09, "-0.01*m_tilde", engine="linear", losses=(0.08, 0.1), tpf={"m_tilde": 2.0}),
            FrontPoint(
                7,
                0.97,
                0.075,
                "-0.01*m_tilde - 0.1*g_tilde",
                chosen=True,
                engine=label,
                r2_train=0.98,
                r2_test=0.96,
                r2_stretched=-7.0,
                losses=(0.07, 0.08),
                tpf={"m_tilde": 3.0, "g_tilde": 1.0},
            ),
            FrontPoint(15, 0.98, None, label, note="not run"),
            FrontPoint(16, 0.99, 4.0, label, diverged=2),
            FrontPoint(11, 0.99, None, label, note=label, refused=True),
        ),
        network=NetworkMarks(0.07, (0.06, 0.08), {"m_tilde": 4.0}),
        mappings=(mapping(label),),
        traces=(trace(label),),
        insights=(Insight(label, "m 5.3", "7 (R² >= 0.95)", "by sensitivity"),),
        insights_note="Over 20 lags.",
        baselines=(Baseline("mlp-orig", "adam:lr=0.01", 0.08, 40, "lr 0.0001 to 1", "3 draws ran to the end"),),
        numbers=(Number("meta-training", 412.0, "inner steps/s", "one core"),),
        settings={"unroll": "20"},
        seeds={"scoring": "0 to 5"},
        versions={"torch": "2"},
        limits=("One meta-training seed.",),
        command=f"rayl2o demo --out {label}",
        created="2026-01-05 12:30 UTC",
    )
