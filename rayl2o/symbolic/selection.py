"""Which formula is the optimizer: chosen by running the candidates, not by R2; and the one-gain control.

R2 does not choose optimizers: on a published DM the second best of 36 fits by R2 diverged. Candidates are run on held-out
runs over the intended horizon, and the mean loss decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.engines.base import Pmap
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.runs import Runs, play
from rayl2o.unroll.loss_spread import loss_spread

TAIL = 20
"""Losses averaged at the end of a run (the papers' mark)."""
TRAIL = 60
"""Points that are kept of a learning curve, evenly spaced on a logarithmic axis."""
LOST = 1.1
"""A run that ends a tenth above its first loss has diverged; standing still at the start has not."""
EXTENSIONS = 3
"""How often a gain grid is extended by two points while its best point is on its edge."""


@dataclass(frozen=True)
class Score:
    """How a rule did on the runs of a role.

    Attributes:
        mean_loss: Mean over runs and horizon, in the task's unit; a diverged run counts with its penalty.
        per_run: Mean over the horizon of each run.
        diverged: Runs that left the sound range, or ended clearly above their first loss (:data:`LOST`).
        trail: Step, lower quartile, median and upper quartile over runs of the loss, at up to :data:`TRAIL` steps
            (:func:`~rayl2o.unroll.loss_spread.loss_spread`).
    """

    mean_loss: float
    per_run: tuple[float, ...]
    diverged: int
    trail: tuple[tuple[float, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data, without the learning curve."""
        return {"mean_loss": self.mean_loss, "per_run": list(self.per_run), "diverged": self.diverged}

    def whole_json(self) -> dict[str, Any]:
        """Plain JSON-able data, the learning curve included."""
        return {**self.to_json(), "trail": [list(point) for point in self.trail]}


def score(rule: Rule, phi: Mapping[str, Tensor], runs: Runs, steps: int) -> Score:
    """Runs a rule on all runs side by side for ``steps`` losses."""
    return scores(rule, phi, runs, steps, 1)[0]


def scores(rule: Rule, phi: Mapping[str, Tensor], runs: Runs, steps: int, settings: int) -> list[Score]:
    """As :func:`score`, for ``settings`` settings of one rule in a single batch: phi holds ``[settings * count, 1]`` values."""
    curves = play(rule, phi, runs, steps, repeat=settings)
    tail = curves.loss[:, -TAIL:].mean(1)
    first = curves.loss[:, 0]
    lost = (curves.valid < steps) | ~(tail <= first + (LOST - 1) * first.abs())
    losses = curves.loss.double()
    means = losses.mean(1)
    return [
        Score(float(mean.mean()), tuple(mean.tolist()), int(out.sum()), _trail(loss))
        for mean, out, loss in zip(
            means.view(settings, -1), lost.view(settings, -1), losses.view(settings, -1, steps), strict=True
        )
    ]


def _trail(loss: Tensor) -> tuple[tuple[float, ...], ...]:
    points = zip(*loss_spread(loss.numpy(), TRAIL), strict=True)
    return tuple(tuple(float(f"{value:.6g}") for value in point) for point in points)


@dataclass(frozen=True)
class Job:
    """A rule to run: plain data, so that a ``pmap`` may send it anywhere. ``phi`` may be empty for a formula as it stands."""

    rule: Rule
    phi: Mapping[str, Tensor]
    runs: Runs
    steps: int


def run_job(job: Job) -> Score:
    """:func:`score` of a job."""
    return score(job.rule, job.phi or job.rule.init_phi(torch.Generator()), job.runs, job.steps)


@dataclass(frozen=True)
class Selection:
    """The front with closed-loop scores, and the candidate chosen."""

    front: Front
    chosen: Candidate
    score: Score


def select(front: Front, runs: Runs, steps: int, most: int = 8, tolerance: float = 0.02, pmap: Pmap = map) -> Selection:
    """Runs up to ``most`` candidates and chooses the simplest of those whose mean loss is within ``tolerance`` of the best.

    Whoever diverged in any run is out. With three runs a few per cent are noise, and small formulas are easier to read, to
    keep in memory and to tune.

    Raises:
        UserError: If the front is empty, or every candidate diverged.
    """
    if not front.candidates:
        reasons = sorted({reason.name for candidate in front.refused for reason in candidate.refused})
        raise UserError("no candidate passed the guards", value=reasons, mend="distil with other operands or more runs")
    picked = front.thin(most)
    results = list(pmap(run_job, [Job(candidate.rule(), {}, runs, steps) for candidate in picked]))
    ran = {
        candidate.expression: (
            replace(
                candidate,
                closed_loop=result.mean_loss,
                closed_loop_runs=result.per_run,
                diverged=result.diverged,
            ),
            result,
        )
        for candidate, result in zip(picked, results, strict=True)
    }
    sound = [pair for pair in ran.values() if not pair[1].diverged]
    if not sound:
        raise UserError(
            "every candidate diverged in closed loop",
            value=[candidate.complexity for candidate in picked],
            mend="lower the horizon, or distil on runs of the intended horizon",
        )
    lowest = min(result.mean_loss for _, result in sound)
    limit = lowest + tolerance * abs(lowest)
    chosen, best = next(pair for pair in sound if pair[1].mean_loss <= limit)
    known = tuple(ran[c.expression][0] if c.expression in ran else c for c in front.candidates)
    return Selection(replace(front, candidates=known), chosen, best)


@dataclass(frozen=True)
class Gain:
    """The one-gain control: what a single number, found by line search, buys.

    Attributes:
        gain: The best factor on the displacement.
        score: Its score on the selection runs.
        tried: Every gain tried, in order, with its mean loss.
        on_edge: Whether the best gain was still the lowest or the highest after all extensions.
    """

    gain: float
    score: Score
    tried: tuple[tuple[float, float], ...]
    on_edge: bool


def search_gain(
    rule: SymbolicRule, phi: Phi, runs: Runs, steps: int, low: float = 0.5, high: float = 5.0, points: int = 7
) -> Gain:
    """Line search of one scalar gain: a geometric grid, extended while its best is on the edge, then refined round the best.

    All gains of a grid run side by side.

    Args:
        rule, phi: The rule and its coefficients; its own ``gain`` is replaced.
        runs: The selection runs.
        steps: The intended horizon.
        low, high, points: The grid; 1 is always among the gains tried, so the control is never behind the plain rule.

    Raises:
        UserError: If the grid is empty, or every gain diverged.
    """
    if not (0 < low < high and points >= 3):
        raise UserError(
            "a gain grid needs 0 < low < high and 3 points", value=(low, high, points), mend="use 0.5, 5, 7"
        )
    ratio = (high / low) ** (1 / (points - 1))
    grid = sorted({1.0, *(low * ratio**i for i in range(points))})
    tried = dict(zip(grid, _with_gains(rule, phi, runs, steps, grid), strict=True))
    for _ in range(EXTENSIONS):
        centre = _best(tried)
        if min(tried) < centre < max(tried):
            break
        outwards = ratio if centre == max(tried) else 1 / ratio
        more = [centre * outwards, centre * outwards**2]
        tried.update(zip(more, _with_gains(rule, phi, runs, steps, more), strict=True))
    centre = _best(tried)
    on_edge = not min(tried) < centre < max(tried)
    fine = [centre * ratio**shift for shift in (-2 / 3, -1 / 3, 1 / 3, 2 / 3)]
    tried.update(zip(fine, _with_gains(rule, phi, runs, steps, fine), strict=True))
    best = _best(tried)
    return Gain(best, tried[best], tuple((gain, tried[gain].mean_loss) for gain in sorted(tried)), on_edge)


def _with_gains(rule: SymbolicRule, phi: Phi, runs: Runs, steps: int, gains: list[float]) -> list[Score]:
    column = torch.tensor(gains, dtype=phi["gain"].dtype).repeat_interleave(runs.count)[:, None]
    return scores(rule, {**phi, "gain": column}, runs, steps, len(gains))


def _best(tried: Mapping[float, Score]) -> float:
    sound = {gain: result for gain, result in tried.items() if not result.diverged}
    if not sound:
        raise UserError("every gain diverged", value=sorted(tried), mend="select another candidate")
    return min(sound, key=lambda gain: sound[gain].mean_loss)
