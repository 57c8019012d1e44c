"""Runs rules on tasks over seeds. Everything random depends on (family, seed, step) only, so any two rules are paired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.evaluate.pmap import ParallelMap
from rayl2o.rules.base import Rule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.unroll.closed_loop import closed_loop
from rayl2o.unroll.segment import DIVERGED, OK

KINDS = ("learned", "formula", "classic")
WINDOW = 20
"""Minibatch losses that one mark averages over."""
LOSS_CAP = 1e4
"""A loss above it counts as divergence (task's unit)."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Contender:
    """A rule that takes part.

    Attributes:
        label: Its name in tables and figures; unique among the contenders of a task.
        rule: The rule.
        phi: Its weights; ``{}`` for a classic rule or a formula without free coefficients.
        kind: ``learned``, ``formula`` or ``classic``.
    """

    label: str
    rule: Rule
    phi: Mapping[str, Tensor] = field(default_factory=dict)
    kind: str = "classic"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")


@dataclass(frozen=True)
class Curves:
    """Losses of one rule on K seeds side by side.

    Attributes:
        loss: float64 ``[K, steps]`` minibatch loss at params[0..steps-1], in the task's unit. From its divergence on, an
            instance is charged :data:`rayl2o.unroll.closed_loop.PENALTY` times its first loss, or its last sound loss if that
            is larger: every mean is finite and bad.
        status: ``ok`` or ``diverged`` per seed.
        valid: int64 ``[K]``, how many of the losses are real.
    """

    loss: NDArray[np.float64]
    status: tuple[str, ...]
    valid: NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """The curves of one contender on one task: row k of the curves belongs to ``seeds[k]``."""

    rule: str
    kind: str
    task: str
    seeds: tuple[int, ...]
    curves: Curves


@dataclass(frozen=True)
class Result:
    """One rule on one task from one seed.

    Attributes:
        log_loss: Mark (as text) to the natural log of the mean minibatch loss of the 20 steps up to it.
        mean_loss: Mean minibatch loss over the horizon, in the task's unit.
        status: ``ok`` or ``diverged``.
    """

    rule: str
    task: str
    seed: int
    log_loss: dict[str, float]
    mean_loss: float
    status: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return asdict(self)


def draw_specs(family: TaskFamily, seeds: Sequence[int]) -> list[TaskSpec]:
    """The K tasks that seeds stand for, as specs: the same whichever rule is run on them."""
    drawn: dict[int, TaskSpec] = {seed: family.sample(generator("evaluate", "task", seed, 0)) for seed in set(seeds)}
    return [drawn[seed] for seed in seeds]


def draw_task(family: TaskFamily, seeds: Sequence[int], dtype: torch.dtype = torch.float32) -> TaskBatch:
    """The tasks of :func:`draw_specs` side by side."""
    return family.build(draw_specs(family, seeds), dtype=dtype)


def init_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds of the K initialisations."""
    return [derive_seed("evaluate", "init", seed, 0) for seed in seeds]


def batch_seeds(seeds: Sequence[int], step: int) -> list[int]:
    """Seeds of the K minibatches of a step."""
    return [derive_seed("evaluate", "batch", seed, step) for seed in seeds]


def run(
    rule: Rule,
    phi: Mapping[str, Tensor],
    family: TaskFamily,
    seeds: Sequence[int],
    steps: int,
    *,
    dtype: torch.dtype = torch.float32,
    loss_cap: float = LOSS_CAP,
) -> Curves:
    """Runs a rule for ``steps`` losses from every seed, all seeds as one task batch, without a graph.

    Raises:
        UserError: If a loss is not finite at the very first step.
    """
    if not seeds or steps < 1:
        raise ValueError(f"a run needs at least one seed and one step, got {len(seeds)} and {steps}")
    curves = closed_loop(
        rule,
        phi,
        draw_task(family, seeds, dtype),
        init_seeds(seeds),
        lambda step: batch_seeds(seeds, step),
        steps,
        loss_cap=loss_cap,
    )
    status = tuple(DIVERGED if diverged else OK for diverged in curves.diverged)
    return Curves(curves.loss.double().numpy(), status, curves.valid.long().numpy())


def marks(steps: int) -> tuple[int, ...]:
    """The steps at which the log-loss is reported: 20, 100, 200, 500, 1000, 2000, 5000, ... up to ``steps``, and ``steps``."""
    decades = (lead * 10**power for power in range(2, len(str(steps)) + 1) for lead in (1, 2, 5))
    return tuple(sorted({mark for mark in (20, *decades) if mark <= steps} | {steps}))


def log_loss(curves: Curves, mark: int) -> NDArray[np.float64]:
    """``[K]``: natural log of the mean minibatch loss of the last 20 steps up to a mark, ``loss[:, mark-20:mark]``.

    A mark below 20 averages what there is. The mean is taken as at least the smallest normal float32, so that a task
    solved exactly has a finite log-loss (-87.3).
    """
    if not 1 <= mark <= curves.loss.shape[1]:
        raise ValueError(f"mark {mark} is outside the horizon of {curves.loss.shape[1]} steps")
    window = curves.loss[:, max(0, mark - WINDOW) : mark]
    log: NDArray[np.float64] = np.log(np.maximum(window.mean(axis=1), _TINY))
    return log


def mean_loss(curves: Curves) -> NDArray[np.float64]:
    """``[K]``: mean minibatch loss over the horizon."""
    mean: NDArray[np.float64] = curves.loss.mean(axis=1)
    return mean


@dataclass(frozen=True)
class _Job:
    """One contender on one task, as data that crosses a process (weights as arrays: tensors would go by shared handles)."""

    label: str
    kind: str
    task: str
    rule: Rule
    phi: dict[str, NDArray[Any]]
    family: TaskFamily
    seeds: tuple[int, ...]
    steps: int
    dtype: torch.dtype
    loss_cap: float


def _run_job(job: _Job) -> Run:
    phi = {name: torch.from_numpy(array.copy()).to(job.dtype) for name, array in job.phi.items()}
    curves = run(job.rule, phi, job.family, job.seeds, job.steps, dtype=job.dtype, loss_cap=job.loss_cap)
    return Run(job.label, job.kind, job.task, job.seeds, curves)


def runs(
    contenders: Sequence[Contender] | Mapping[str, Sequence[Contender]],
    families: Mapping[str, TaskFamily],
    seeds: Sequence[int],
    steps: int,
    *,
    pmap: ParallelMap = map,
    dtype: torch.dtype = torch.float32,
    loss_cap: float = LOSS_CAP,
) -> Iterator[Run]:
    """Every contender on every task, lazily, in the order of tasks and then of contenders.

    Args:
        contenders: The same for all tasks, or per name of a task (each task has its own tuned baselines).
        families: Tasks by the name they are reported under.
        seeds: Scoring seeds.
        steps: Horizon.
        pmap: An ordered map; see :mod:`rayl2o.evaluate.pmap`.

    Raises:
        UserError: If a loss is not finite at the very first step.
    """
    jobs = [
        _Job(
            contender.label,
            contender.kind,
            task,
            contender.rule,
            {name: weight.detach().cpu().numpy() for name, weight in contender.phi.items()},
            family,
            tuple(seeds),
            steps,
            dtype,
            loss_cap,
        )
        for task, family in families.items()
        for contender in _of_task(contenders, task)
    ]
    yield from pmap(_run_job, jobs)


def _of_task(contenders: Sequence[Contender] | Mapping[str, Sequence[Contender]], task: str) -> Sequence[Contender]:
    chosen = contenders[task] if isinstance(contenders, Mapping) else contenders
    labels = [contender.label for contender in chosen]
    if len(set(labels)) != len(labels):
        raise ValueError(f"labels of contenders must differ, got {labels}")
    return chosen


def results(runs: Iterable[Run]) -> list[Result]:
    """One row per run and seed, in order."""
    rows = []
    for one in runs:
        logs = {str(mark): log_loss(one.curves, mark) for mark in marks(one.curves.loss.shape[1])}
        means = mean_loss(one.curves)
        rows += [
            Result(
                one.rule,
                one.task,
                seed,
                {mark: float(values[k]) for mark, values in logs.items()},
                float(means[k]),
                one.curves.status[k],
            )
            for k, seed in enumerate(one.seeds)
        ]
    return rows


def evaluate(
    contenders: Sequence[Contender] | Mapping[str, Sequence[Contender]],
    families: Mapping[str, TaskFamily],
    seeds: Sequence[int],
    steps: int,
    pmap: ParallelMap = map,
) -> list[Result]:
    """:func:`runs`, as one row per task, contender and seed, in this order."""
    return results(runs(contenders, families, seeds, steps, pmap=pmap))
