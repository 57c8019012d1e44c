"""A tuned baseline: random draws of a classic rule's hyperparameters, chosen on tuning seeds, optimum inside the range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats.qmc import LatinHypercube

from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.pmap import ParallelMap
from rayl2o.evaluate.racing import Track, race
from rayl2o.evaluate.search_space import SPACES, Range, Space
from rayl2o.rules.base import Rule
from rayl2o.seeds import derive_seed
from rayl2o.tasks.base import TaskFamily
from rayl2o.unroll.segment import DIVERGED, OK

DRAWS = 40
"""Settings tried per rule and task."""
EDGE = 0.05
"""An optimum in this outermost part of a (logarithmic) range makes the range grow."""
EXTENSIONS = 3
"""How often ranges may grow."""


@dataclass(frozen=True)
class Draw:
    """One setting that was tried.

    Attributes:
        values: Hyperparameters by name.
        score: Mean loss over horizon and tuning seeds, in the task's unit; a lower bound of it if ``steps`` is less than the
            horizon, where it was already above the final score of another setting.
        steps: Steps it ran on every tuning seed.
        status: ``ok``, or ``diverged`` if it did so on a seed.
    """

    values: dict[str, float]
    score: float
    steps: int
    status: str


@dataclass(frozen=True)
class Tuned:
    """The winner and how it was found.

    Attributes:
        kind: The rule's registered name.
        task: What it was tuned on.
        rule: The rule with the winning setting as plain floats.
        label: The same as text that the command line accepts, ``adam:lr=0.029,beta1=0.87,beta2=0.998``.
        values, score, status: The winning draw.
        draws: All draws in order.
        ranges: Ranges at the end, as (low, high) of the hyperparameter.
        extended: How often ranges grew because the optimum was at an edge.
        on_edge: Hyperparameters whose optimum is at an edge still.
        seeds, steps: Tuning seeds and horizon.
        inner_steps: Inner steps spent, over all draws and seeds.
    """

    kind: str
    task: str
    rule: Rule
    label: str
    values: dict[str, float]
    score: float
    status: str
    draws: tuple[Draw, ...]
    ranges: dict[str, tuple[float, float]]
    extended: int
    on_edge: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    inner_steps: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data (without the rule object: ``label`` says it)."""
        data = {name: value for name, value in vars(self).items() if name != "rule"}
        return data | {"draws": [asdict(draw) for draw in self.draws]}


@dataclass(frozen=True)
class TuningJob:
    """What :func:`tune` needs, as data that crosses a process.

    Attributes:
        kind: A key of :data:`rayl2o.evaluate.search_space.SPACES`.
        task, family: The task, and the name it is reported under.
        seeds, scoring_seeds: Tuning seeds, and those that the winner will be scored on (which must be others).
        steps: Horizon.
        draws, seed: How many settings, and what draws them.
    """

    kind: str
    task: str
    family: TaskFamily
    seeds: tuple[int, ...]
    scoring_seeds: tuple[int, ...]
    steps: int
    draws: int = DRAWS
    seed: int = 0


def tune(
    space: Space,
    family: TaskFamily,
    seeds: Sequence[int],
    steps: int,
    *,
    scoring_seeds: Sequence[int],
    task: str = "",
    draws: int = DRAWS,
    seed: int = 0,
    prune: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Tuned:
    """Tunes a classic rule on one task for mean loss over a horizon (design.md section 11). Deterministic.

    ``draws`` settings are a Latin hypercube in the logarithmic ranges: random, with every margin evenly covered. All run
    side by side on the same tasks, initialisations and batches. Settings that cannot win any more are dropped on the way
    (:func:`rayl2o.evaluate.racing.race`), which does not change the winner. While the winner lies in the outermost 5 % of a
    range whose end is not a natural limit, the range grows by a decade there and ``draws`` more are drawn around that end.

    Args:
        space: The rule and its ranges; see :data:`rayl2o.evaluate.search_space.SPACES`.
        family: The task.
        seeds: Tuning seeds.
        steps: Horizon.
        scoring_seeds: Seeds that the winner will be scored on.
        task: Name for the record.
        draws, seed: How many settings a round, and what draws them.
        prune: False runs every setting to the horizon.
        dtype: Of params and hyperparameters.

    Raises:
        UserError: If a tuning seed is a scoring seed too, or a loss is not finite at the very first step.
    """
    if shared := sorted(set(seeds) & set(scoring_seeds)):
        raise UserError("tuning seeds must not be scoring seeds", value=shared, mend="choose other seeds to tune on")
    if draws < 1:
        raise UserError("the number of draws must be at least 1", value=draws, mend="40 or more make a tuned baseline")
    track = Track(family, tuple(seeds), steps, dtype)
    ranges, window = dict(space.ranges), dict(space.ranges)
    found: list[Draw] = []
    for extended in range(EXTENSIONS + 1):
        bound = _best(found, steps).score if found else float("inf")
        values = _draw(window, draws, derive_seed("evaluate", "tuning", space.kind, seed, extended))
        finishes = race(space.make, values, track, bound=bound, prune=prune)
        for i, finish in enumerate(finishes):
            setting = {name: float(column[i]) for name, column in values.items()}
            found.append(Draw(setting, finish.score, finish.steps, DIVERGED if finish.diverged else OK))
        best = _best(found, steps)
        grown = {name: more for name in ranges if (more := ranges[name].beyond(best.values[name], EDGE)) is not None}
        if not grown or extended == EXTENSIONS:
            break
        window = ranges | {name: part for name, (_, part) in grown.items()}
        ranges = ranges | {name: wider for name, (wider, _) in grown.items()}
    return Tuned(
        space.kind,
        task,
        space.make(**best.values),
        f"{space.kind}:" + ",".join(f"{name}={value:.10g}" for name, value in best.values.items()),
        best.values,
        best.score,
        best.status,
        tuple(found),
        {name: _ends(r) for name, r in ranges.items()},
        extended,
        tuple(grown),
        tuple(seeds),
        steps,
        sum(draw.steps for draw in found) * len(seeds),
    )


def _draw(ranges: Mapping[str, Range], draws: int, seed: int) -> dict[str, NDArray[np.float64]]:
    cube = LatinHypercube(len(ranges), rng=np.random.default_rng(seed)).random(draws)
    return {name: ranges[name].at(cube[:, i]) for i, name in enumerate(ranges)}


def _best(draws: Sequence[Draw], steps: int) -> Draw:
    return min((draw for draw in draws if draw.steps == steps), key=lambda draw: draw.score)


def _ends(r: Range) -> tuple[float, float]:
    low, high = r.at(np.array([0.0, 1.0])).tolist()
    return (min(low, high), max(low, high))


def tune_all(jobs: Sequence[TuningJob], pmap: ParallelMap = map) -> Iterator[Tuned]:
    """:func:`tune` for every job, lazily and in order.

    Raises:
        UserError: If a job names a rule without a search space, or as :func:`tune` does.
    """
    for job in jobs:
        if job.kind not in SPACES:
            raise unknown_name("rule to tune", job.kind, SPACES)
    yield from pmap(_tune_job, jobs)


def _tune_job(job: TuningJob) -> Tuned:
    return tune(
        SPACES[job.kind],
        job.family,
        job.seeds,
        job.steps,
        scoring_seeds=job.scoring_seeds,
        task=job.task,
        draws=job.draws,
        seed=job.seed,
    )
