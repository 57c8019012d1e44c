"""Figures of the tasks: inner steps per second of K instances side by side, against a plain PyTorch loop over K modules.

An inner step is a minibatch, loss, gradient and an SGD update of one instance. Both sides do all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from rayl2o.benchmark.plain_loop import LR, plain_loop
from rayl2o.benchmark.row import Row, interleaved
from rayl2o.errors import UserError
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import build, settings_of, task, tasks

INSTANCES = (1, 8, 64)
MOST_FLOATS = 8_000_000
"""K D above which a K is left out: such networks are run with K = 1."""
BLOCK_S = 0.15
"""Seconds of one timed block of steps, about."""
REPEATS = 5
SLOW_S = 1.0
"""A step that takes longer is timed once: a network of millions of weights."""


@dataclass(frozen=True)
class Case:
    """A task as it is measured: with its default settings, on a data set.

    Attributes:
        name: As :func:`rayl2o.tasks.registry.task` takes it.
        data: Its data set; empty for none.
    """

    name: str
    data: str = ""

    @property
    def label(self) -> str:
        """Of its rows."""
        return f"{self.name} ({self.data})" if self.data else self.name

    def family(self) -> TaskFamily:
        """What it names."""
        return task(self.name, **({"data": self.data} if "data" in settings_of(self.name) else {}))


def cases() -> list[Case]:
    """Every task of this package that is one problem, on the data set that the list of tasks names; whether it can run here is
    another matter."""
    return [Case(info.name, info.data) for info in tasks() if info.source == "built-in" and info.params is not None]


def task_rows(chosen: Sequence[Case] | None = None) -> list[Row]:
    """Inner steps per second and ratio, per task and K. Tasks whose data are not here are left out."""
    rows: list[Row] = []
    for case in cases() if chosen is None else chosen:
        rows += case_rows(case)
    return rows


def case_rows(case: Case) -> list[Row]:
    """The rows of one task; none if its data are not here."""
    family = case.family()
    try:
        size = family.build([family.sample(generator("benchmark", "tasks"))]).layout.size
    except UserError:
        return []
    return [_row(case.label, family, k) for k in INSTANCES if k == 1 or k * size <= MOST_FLOATS]


def _row(label: str, family: TaskFamily, k: int) -> Row:
    ours, (rival, against) = side_by_side(family, k), plain_loop(family, k)
    blocks = {"ours": _block(ours), "rival": _block(rival)}
    slow = max(blocks["ours"][2], blocks["rival"][2]) > SLOW_S
    seconds = interleaved({side: block[0] for side, block in blocks.items()}, 1 if slow else REPEATS)
    rates = {side: k * block[1] / seconds[side] for side, block in blocks.items()}
    return Row(f"{label}: K = {k}", rates["ours"], "inner steps/s", rates["ours"] / rates["rival"], against)


def side_by_side(family: TaskFamily, k: int) -> Callable[[], object]:
    """One inner step of each of K instances, our way."""
    rng = generator("benchmark", "tasks")
    tasks = build([family.sample(rng) for _ in range(k)])
    params, ticks = tasks.init_params(range(k)), count()

    def step() -> object:
        nonlocal params
        at = next(ticks)
        batch = tasks.draw_batch([derive_seed("benchmark", "batch", i, at) for i in range(k)])
        loss, grad = tasks.loss_and_grad(params, batch)
        params = params - LR * grad
        return loss

    return step


def _block(step: Callable[[], object]) -> tuple[Callable[[], object], int, float]:
    """So many steps as take about :data:`BLOCK_S`, their number, and the seconds of one."""
    step()
    begun = time.perf_counter()
    step()
    seconds = max(time.perf_counter() - begun, 1e-6)
    steps = max(1, min(1000, round(BLOCK_S / seconds)))

    def block() -> None:
        for _ in range(steps):
            step()

    return block, steps, seconds
