"""Scores many settings of a rule at once and drops those that cannot win any more: the same winner for a tenth of the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.evaluate.runner import LOSS_CAP, batch_seeds, draw_task, init_seeds
from rayl2o.rules.base import Rule, State, seen_by
from rayl2o.tasks.base import TaskBatch, TaskFamily
from rayl2o.unroll.closed_loop import PENALTY

LEADERS = 2
"""Settings that run ahead to the horizon at a time, to give the bound."""
CHUNKS = 50
"""Parts of the horizon, of at least 10 steps; after each of them settings are dropped."""


@dataclass(frozen=True)
class Track:
    """Where a race is held.

    Attributes:
        family: Task family.
        seeds: S seeds that every setting runs on.
        steps: Horizon.
        dtype: Of params and hyperparameters.
        loss_cap: A loss above it counts as divergence (task's unit).
    """

    family: TaskFamily
    seeds: tuple[int, ...]
    steps: int
    dtype: torch.dtype = torch.float32
    loss_cap: float = LOSS_CAP


@dataclass(frozen=True)
class Finish:
    """How a setting fared.

    Attributes:
        score: Mean loss over seeds and horizon, in the task's unit, as :func:`rayl2o.evaluate.runner.mean_loss` has it; a lower
            bound of it where the setting was dropped before the horizon.
        steps: Steps it ran: the horizon, or less if it was dropped.
        diverged: Whether it had diverged on a seed by then.
    """

    score: float
    steps: int
    diverged: bool


@dataclass(frozen=True)
class _Position:
    """K = n * S instances after ``step`` losses, the S seeds of a setting next to each other.

    Attributes:
        total: float64 ``[K]``, sum of the losses so far, with the charge for divergence.
        first, last: ``[K]``, first loss and last sound loss.
        alive: bool ``[K]``, not diverged.
        lowest: Smallest loss seen.
    """

    step: int
    params: Tensor
    state: State
    total: Tensor
    first: Tensor
    last: Tensor
    alive: Tensor
    lowest: float


@dataclass(frozen=True)
class _Field:
    """The settings still in the race: their index, hyperparameters ``[n]`` by name, seeds per setting, and position."""

    index: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    seeds: int
    position: _Position

    def keep(self, mask: NDArray[np.bool_]) -> _Field:
        rows = torch.from_numpy(np.repeat(mask, self.seeds))
        at = self.position
        kept = replace(
            at,
            params=at.params[rows],
            state={level: tensor[rows] for level, tensor in at.state.items()},
            **{name: getattr(at, name)[rows] for name in ("total", "first", "last", "alive")},
        )
        return _Field(self.index[mask], {name: column[mask] for name, column in self.values.items()}, self.seeds, kept)

    def totals(self) -> NDArray[np.float64]:
        """Mean over seeds of the summed losses, per setting."""
        totals: NDArray[np.float64] = self.position.total.view(-1, self.seeds).mean(1).numpy()
        return totals

    def promising(self, steps: int) -> NDArray[np.bool_]:
        """Which few settings look best, if the last losses went on to the horizon."""
        at = self.position
        outlook = at.total + (steps - at.step) * torch.where(at.alive, at.last, float("inf"))
        order = np.argsort(outlook.view(-1, self.seeds).mean(1).numpy(), kind="stable")
        return np.isin(np.arange(len(self.index)), order[:LEADERS])

    def finishes(self, steps: int) -> dict[int, Finish]:
        """By index; ``steps`` is the horizon."""
        died = (~self.position.alive).view(-1, self.seeds).any(1).tolist()
        totals = self.totals().tolist()
        return {
            int(i): Finish(total / steps, self.position.step, dead)
            for i, total, dead in zip(self.index, totals, died, strict=True)
        }


def race(
    make: Callable[..., Rule],
    values: Mapping[str, NDArray[np.float64]],
    track: Track,
    *,
    bound: float = float("inf"),
    prune: bool = True,
) -> list[Finish]:
    """Scores n settings of a rule over the same tasks, initialisations and batches, side by side.

    Losses are not negative, so the losses summed so far bound the final sum from below: a setting whose sum is above the
    final sum of another one cannot win. Dropping it changes neither the winner nor the winner's score (up to rounding).
    Should a loss be negative, the race is held again without dropping.

    Args:
        make: A rule from its hyperparameters by name, each a ``[K, 1]`` tensor.
        values: Hyperparameters ``[n]`` by name.
        track: Task, seeds, horizon.
        bound: A score that is known to be reached; settings that exceed it are dropped.
        prune: False runs every setting to the horizon.

    Raises:
        UserError: If a loss is not finite at the very first step.
    """
    count = len(next(iter(values.values())))
    with torch.no_grad():
        field = _Field(np.arange(count), dict(values), len(track.seeds), _start(make, values, track))
        if not prune:
            return _in_order(_advance(make, field, _task(count, track), track, track.steps).finishes(track.steps))
        tally = _Tally({}, bound * track.steps, float("inf"))
        for halt in _halts(track.steps):
            field, tally = _run_to(make, field, track, halt, tally)
            leading = field.promising(track.steps)
            _, tally = _run_to(make, field.keep(leading), track, track.steps, tally)
            field = field.keep(~leading)
    if tally.lowest < 0:
        return race(make, values, track, prune=False)
    return _in_order(tally.done)


def _chunk(steps: int) -> int:
    return max(10, -(-steps // CHUNKS))


def _halts(steps: int) -> list[int]:
    """Where the most promising settings leave the others behind to give the bound: 2 %, 4 %, 8 % ... of the horizon."""
    halts = [_chunk(steps) * 2**i for i in range(CHUNKS.bit_length())]
    return [*(halt for halt in halts if halt < steps), steps]


@dataclass(frozen=True)
class _Tally:
    """What a race has brought so far: who is done, the smallest final sum of losses, the smallest loss."""

    done: dict[int, Finish]
    limit: float
    lowest: float


def _run_to(make: Callable[..., Rule], field: _Field, track: Track, halt: int, tally: _Tally) -> tuple[_Field, _Tally]:
    """Runs a field up to a step and drops, part by part, what exceeds the bound; at the horizon everyone is done."""
    task = None
    while len(field.index) and field.position.step < halt:
        if task is None or task.k != len(field.index) * field.seeds:
            task = _task(len(field.index), track)
        field = _advance(make, field, task, track, min(field.position.step + _chunk(track.steps), halt))
        totals, over = field.totals(), field.position.step == track.steps
        limit = min(tally.limit, float(totals.min())) if over else tally.limit
        out = (totals > limit) | over
        done = tally.done | field.keep(out).finishes(track.steps) if out.any() else tally.done
        tally = _Tally(done, limit, min(tally.lowest, field.position.lowest))
        field = field.keep(~out) if out.any() else field
    return field, tally


def _in_order(done: Mapping[int, Finish]) -> list[Finish]:
    return [done[i] for i in range(len(done))]


def _rule(make: Callable[..., Rule], values: Mapping[str, NDArray[np.float64]], track: Track) -> Rule:
    repeated = {name: np.repeat(column, len(track.seeds)) for name, column in values.items()}
    return make(**{name: torch.from_numpy(column)[:, None] for name, column in repeated.items()})


def _task(count: int, track: Track) -> TaskBatch:
    return draw_task(track.family, list(track.seeds) * count, track.dtype)


def _start(make: Callable[..., Rule], values: Mapping[str, NDArray[np.float64]], track: Track) -> _Position:
    count = len(next(iter(values.values())))
    task = _task(count, track)
    params = task.init_params(init_seeds(track.seeds) * count)
    state = _rule(make, values, track).init_state({}, task.layout, task.k, dtype=track.dtype)
    zero = torch.zeros(task.k, dtype=torch.float64)
    return _Position(0, params, state, zero, zero, zero, torch.ones(task.k, dtype=torch.bool), float("inf"))


def _advance(make: Callable[..., Rule], field: _Field, task: TaskBatch, track: Track, stop: int) -> _Field:
    """Runs up to ``stop`` losses; one update follows every loss."""
    at, rule = field.position, _rule(make, field.values, track)
    count = len(field.index)
    params, state, total, first, last, alive, lowest = (
        at.params, at.state, at.total, at.first, at.last, at.alive, at.lowest,
    )  # fmt: skip
    for step in range(at.step, stop):
        found, grad = task.loss_and_grad(params, task.draw_batch(batch_seeds(track.seeds, step) * count))
        loss = found.double()
        if step == 0:
            first = _first(loss)
        alive = alive & torch.isfinite(loss) & (loss <= track.loss_cap) & torch.isfinite(grad).all(1)
        last = torch.where(alive, loss, last)
        total = total + torch.where(alive, loss, torch.maximum(PENALTY * first.abs(), last))
        lowest = min(lowest, float(last.min()))
        grad = torch.where(alive[:, None], grad, 0.0)
        now = torch.tensor(float(step), dtype=grad.dtype)
        delta, state = rule.update({}, seen_by(rule, grad, now, params, last.to(grad), task.layout), state)
        params = torch.where(alive[:, None], params + delta, params)
    return replace(field, position=_Position(stop, params, state, total, first, last, alive, lowest))


def _first(loss: Tensor) -> Tensor:
    if not bool(torch.isfinite(loss).all()):
        raise UserError(
            "the loss is not finite at the first step", value=loss.tolist(), mend="check the task's settings and data"
        )
    return loss
