"""K episodes side by side in one TaskBatch: the dynamics of an environment, without gymnasium."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.envs.features import Features, View, cosine, log_rms
from rayl2o.envs.log_loss import linear_below_of, log_loss
from rayl2o.envs.moves import Moves
from rayl2o.envs.settings import EnvSettings
from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import Batch, TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.registry import family_of, task

TIMES_FIRST = 10.0
"""A loss must also be above this many times the first one to count as divergence: a task may start above ``loss_cap``."""


def concrete_family(name_or_family: str | TaskFamily, settings: dict[str, object], family_seed: int) -> TaskFamily:
    """A family all of whose specs have one layout: for one that draws layouts, what its draw number ``family_seed`` gives.

    Raises:
        UserError: As :func:`rayl2o.tasks.registry.task`, or if settings come with a family that has its own.
    """
    if not isinstance(name_or_family, str):
        if settings:
            raise UserError("a task family has its settings already", value=settings, mend="give a task by its name")
        family = name_or_family
    else:
        family = task(name_or_family, **settings)
    spec = family.sample(generator("env family", family_seed))
    try:
        return family_of(spec)
    except UserError:  # not registered: then it must build its own specs
        return family


@dataclass(frozen=True)
class Start:
    """What an episode is made from.

    Attributes:
        seed: Draws initialisation, minibatches and the coordinates that are seen.
        task_seed: Draws the task.
    """

    seed: int
    task_seed: int


class Episodes:
    """K episodes of one concrete family. Rows never mix; row k depends on its :class:`Start` and its actions only.

    Args:
        family: As :func:`concrete_family` gives it.
        settings: Of the environment.
        k: Number of instances.

    Attributes:
        moves: What an action does.
        features: What is seen.
        coords: C, coordinates that are seen.
        linear_below: Where the logarithm of a loss turns linear, in the task's unit.
        observation: float32 ``[K, C, F]``.
        loss: ``[K]`` minibatch loss at the present params, in the task's unit; not finite or huge after divergence.
        diverged: bool ``[K]``.
        step: int64 ``[K]``, steps made.
        specs: K tasks as JSON text.
    """

    def __init__(self, family: TaskFamily, settings: EnvSettings, k: int) -> None:
        self.family, self.settings, self.k = family, settings, k
        self.layout = _layout(family)
        self.features = Features.parse(settings.features)
        self.moves = Moves.of(settings, self.layout)
        self.coords = settings.coordinates(self.layout.size)
        self.linear_below = linear_below_of(family) if settings.linear_below is None else settings.linear_below
        size, seen = self.layout.size, self.coords
        self.observation = torch.zeros(k, seen, len(self.features.names))
        self.loss = torch.zeros(k)
        self.diverged = torch.zeros(k, dtype=torch.bool)
        self.step = torch.zeros(k, dtype=torch.int64)
        self.specs = [""] * k
        self._starts = [Start(0, 0)] * k
        self._drawn: list[TaskSpec] = [TaskSpec("")] * k
        self._tasks: TaskBatch | None = None
        self._has_data = True
        self._params, self._grad = torch.zeros(k, size), torch.zeros(k, size)
        self._first = torch.ones(k)
        self._seen = torch.zeros(k, seen, dtype=torch.int64)
        self._state = self.features.start(k, seen)

    @torch.no_grad()
    def begin(self, rows: Sequence[int], starts: Sequence[Start]) -> None:
        """Starts a new episode in each of ``rows``; the others stay as they are.

        Raises:
            UserError: If a loss or gradient is not finite at a fresh initialisation, or the task's data cannot be read.
        """
        for row, start in zip(rows, starts, strict=True):
            self._starts[row] = start
            self._drawn[row] = self.family.sample(generator("env task", start.task_seed))
            self.specs[row] = json.dumps(self._drawn[row].to_json(), sort_keys=True)
        tasks = self.family.build([self._drawn[row] for row in rows], dtype=torch.float32)
        params = tasks.init_params([derive_seed("env init", start.seed) for start in starts])
        batch = self._draw_batch(tasks, starts, torch.zeros(len(starts), dtype=torch.int64))
        self._has_data = batch is not None
        loss, grad = tasks.loss_and_grad(params, batch)
        if not bool(torch.isfinite(loss).all() and torch.isfinite(grad).all()):
            spec = self._drawn[rows[0]]
            mend = f"check the settings {dict(spec.settings)} and the data"
            raise UserError(f"task {spec.family!r} is not finite at its first step", value=loss.tolist(), mend=mend)
        at = torch.tensor(rows)
        self._params = self._params.index_copy(0, at, params)
        self._grad = self._grad.index_copy(0, at, torch.zeros_like(grad))
        self._first = self._first.index_copy(0, at, loss)
        self._seen = self._seen.index_copy(0, at, torch.stack([self._draw_coords(start) for start in starts]))
        self._state = self._state.index_fill(0, at, 0.0)
        self.step = self.step.index_fill(0, at, 0)
        self.diverged = self.diverged.index_fill(0, at, False)
        self._tasks = tasks if len(rows) == self.k else self.family.build(self._drawn, dtype=torch.float32)
        new = torch.zeros(self.k, dtype=torch.bool).index_fill(0, at, True)
        self._arrive(new, self.loss.index_copy(0, at, loss), self._grad.index_copy(0, at, grad), torch.zeros(self.k))

    @torch.no_grad()
    def move(self, action: Tensor, rows: Tensor) -> Tensor:
        """One step of the instances where ``rows`` (bool ``[K]``) holds; the others stay as they are, with reward 0.

        Args:
            action: ``[K, A]`` in [-1, 1].
            rows: Which instances move.

        Returns:
            float64 rewards ``[K]``.
        """
        assert self._tasks is not None, "begin comes first"
        old = self._params
        delta = self.moves.displace(action, self._grad, self._seen)
        self._params = _merged(rows, old + delta, old)
        self.step = self.step + rows
        batch = self._draw_batch(self._tasks, self._starts, self.step) if self._has_data else None
        loss, grad = self._tasks.loss_and_grad(self._params, batch)
        cap = (TIMES_FIRST * self._first).clamp_min(self.settings.loss_cap)
        diverged = ~(torch.isfinite(loss) & (loss <= cap) & torch.isfinite(grad).all(1))
        before = self._log(self._loss_before(old, batch), cap)
        reward = torch.where(rows, before - self._log(torch.where(diverged, math.inf, loss), cap), 0.0)
        self.diverged = _merged(rows, diverged, self.diverged)
        self._arrive(rows, loss, grad, reward)
        return reward

    def _draw_batch(self, tasks: TaskBatch, starts: Sequence[Start], steps: Tensor) -> Batch:
        pairs = zip(starts, steps.tolist(), strict=True)
        return tasks.draw_batch([derive_seed("env batch", start.seed, step) for start, step in pairs])

    def _loss_before(self, params: Tensor, batch: Batch) -> Tensor:
        """``[K]`` at the params before the move, on the minibatch after it."""
        assert self._tasks is not None
        return self.loss if batch is None else self._tasks.loss(params, batch)

    def _log(self, loss: Tensor, cap: Tensor) -> Tensor:
        """float64 :func:`log_loss` of losses within plus or minus the cap; what is not a number counts as the cap."""
        known = torch.where(torch.isnan(loss), cap, loss)
        return log_loss(torch.minimum(torch.maximum(known, -cap), cap), self.linear_below)

    def _arrive(self, rows: Tensor, loss: Tensor, grad: Tensor, reward: Tensor) -> None:
        """Takes loss, gradient and observation of the instances that moved."""
        last = self._grad
        instance: dict[str, Callable[[], Tensor]] = {
            "progress": lambda: self.step / self.settings.horizon,
            "log_loss": lambda: self._decades(loss),
            "log_grad": lambda: log_rms(grad),
            "gain": reward.float,
            "cosine": lambda: cosine(grad, last),
        }
        view = View(grad.gather(1, self._seen), self.step[:, None].float(), instance)
        seen, state = self.features.observe(view, self._state, self.settings.clip)
        self.loss = _merged(rows, loss, self.loss)
        self._grad = _merged(rows, grad, self._grad)
        self._state = _merged(rows, state, self._state)
        self.observation = _merged(rows, seen, self.observation)

    def _decades(self, loss: Tensor) -> Tensor:
        """log10 of the loss over the first one, ``[K]``."""
        change = log_loss(loss, self.linear_below) - log_loss(self._first, self.linear_below)
        return (change / math.log(10.0)).float()

    def _draw_coords(self, start: Start) -> Tensor:
        """int64 ``[C]``, ascending."""
        if self.coords == self.layout.size:
            return torch.arange(self.coords)
        order = torch.randperm(self.layout.size, generator=generator("env coords", start.seed))
        return order[: self.coords].sort().values


def _merged(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new [K, ...]`` where ``rows`` (bool ``[K]``) holds, else ``old``."""
    return new if bool(rows.all()) else torch.where(rows.view(-1, *(1,) * (new.dim() - 1)), new, old)


def _layout(family: TaskFamily) -> Layout:
    """From the family, which reads no data, if it says; else from a task of it."""
    layout = getattr(family, "layout", None)
    if isinstance(layout, Layout):
        return layout
    return family.build([family.sample(generator("env layout"))]).layout
