"""Runs one window of a slot: U inner steps of K instances, everyone listening, one acting. Numbers only, never a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Phi, Rule, State, seen_by
from rayl2o.rules.compiled import Update, compiled_update
from rayl2o.rules.registry import parse_rule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import Batch, TaskBatch
from rayl2o.unroll.credit import Visited
from rayl2o.unroll.path import Path, kept_steps, nbytes
from rayl2o.unroll.segment import MIX, TEACHER
from rayl2o.unroll.settings import FIRST_ORDER, POOL, SAME, UnrollConfig
from rayl2o.unroll.step_seeds import StepSeeds
from rayl2o.unroll.ticket import SlotState, Ticket


@dataclass(frozen=True)
class Cast:
    """Who takes part: the student first, then the teachers, each with its weights."""

    rules: tuple[Rule, ...]
    phis: tuple[Phi, ...]

    @classmethod
    def of(cls, rule: Rule, phi: Phi, ticket: Ticket) -> Cast:
        """The student and the ticket's teachers."""
        teachers = tuple(parse_rule(text) for text in ticket.teachers)
        return cls((rule, *teachers), (phi, *({} for _ in teachers)))

    def updates(self, backend: str) -> tuple[Update, ...]:
        """What each does at a step; the student's compiled where a backend is named."""
        student, *teachers = self.rules
        own = compiled_update(student, backend) if backend else student.update
        return (own, *(teacher.update for teacher in teachers))


@dataclass(frozen=True)
class Window:
    """What a window leaves behind before coordinates are drawn; time leads.

    Attributes:
        visited: What the rules saw; its params are params[0] alone where first-order credit needs no more.
        batches: Minibatch of each of the U + 1 points; empty where params are.
        losses: ``[U+1, K]``, not finite where they came so.
        meta_losses, meta_grads: ``[U, K]`` and ``[U, K, D]`` at params[1..U], on the minibatches of the meta-loss.
        deltas: ``[U, K, D]``.
        actor: int8 ``[U, K]``.
        counted: bool ``[U, K]``, steps that ended sound.
        paths: The states before each step, per rule of the cast; empty for first-order credit.
        end: The slot's state after it.
    """

    visited: Visited
    batches: list[Batch]
    losses: Tensor
    meta_losses: Tensor
    meta_grads: Tensor
    deltas: Tensor
    actor: Tensor
    counted: Tensor
    paths: tuple[Path, ...]
    end: SlotState


def meta_batch_seeds(config: UnrollConfig, ticket: Ticket, begin: int, step: int) -> list[list[int]]:
    """Seeds of the minibatches that the meta-loss is the mean over, at an inner step of the window that begins at ``begin``.

    ``fresh``: one, another at every step. ``pool``: the same ones throughout the window.
    """
    where = [(begin, i) for i in range(config.pool_batches)] if config.meta_batch == POOL else [(step, 0)]
    return [
        [
            derive_seed(ticket.run_seed, "meta-batch", ticket.slot, ticket.ordinal, k, *at)
            for k in range(len(ticket.specs))
        ]
        for at in where
    ]


def start(cast: Cast, config: UnrollConfig, ticket: Ticket, task: TaskBatch) -> SlotState:
    """The state at a fresh initialisation. Raises UserError if a loss is not finite there."""
    seeds = [derive_seed(ticket.run_seed, "init", ticket.slot, ticket.ordinal, k) for k in range(task.k)]
    params = task.init_params(seeds)
    loss, grad = task.loss_and_grad(params, task.draw_batch(StepSeeds(ticket, 0)))
    if not bool(torch.isfinite(loss).all()):
        bad = int((~torch.isfinite(loss)).nonzero()[0])
        raise UserError(
            f"the loss of task {ticket.specs[bad].family!r} is not finite at its first step",
            value=float(loss[bad]),
            mend=f"check the settings {dict(ticket.specs[bad].settings)} and the data",
        )
    states = [
        rule.init_state(phi, task.layout, task.k, dtype=config.torch_dtype, device=params.device)
        for rule, phi in zip(cast.rules, cast.phis, strict=True)
    ]
    return SlotState(
        params=params,
        rule_state=states[0],
        teacher_states=tuple(states[1:]),
        grad=grad,
        loss=loss,
        first_loss=loss,
        alive=torch.ones(task.k, dtype=torch.bool, device=params.device),
        step=0,
        segment=0,
    )


def actors(config: UnrollConfig, ticket: Ticket, state: SlotState) -> Tensor:
    """int8 ``[U, K]``: who acts. All draws come before the window, so that they depend on nothing in it."""
    shape = (config.steps, len(ticket.specs))
    if ticket.behaviour != MIX:
        return torch.full(shape, int(ticket.behaviour == TEACHER), dtype=torch.int8)
    draws = generator(ticket.run_seed, "behaviour", ticket.slot, ticket.ordinal, state.step)
    if ticket.teacher_weights:
        weights = torch.tensor(ticket.teacher_weights, dtype=torch.float64)
        drawn = torch.multinomial(weights, config.steps * len(ticket.specs), replacement=True, generator=draws)
        teacher = 1 + drawn.view(shape)
    else:
        teacher = torch.randint(1, len(ticket.teachers) + 1, shape, generator=draws)
    return torch.where(torch.rand(shape, generator=draws) < ticket.teacher_share, teacher, 0).to(torch.int8)


def run_window(cast: Cast, config: UnrollConfig, ticket: Ticket, state: SlotState, task: TaskBatch) -> Window:
    """U inner steps from ``state``; equal arguments give equal bytes."""
    device = state.params.device
    actor = actors(config, ticket, state).to(device)
    steps = torch.arange(state.step, state.step + config.steps, dtype=config.torch_dtype, device=device)
    history = _History(config, state)
    params, grad, alive = state.params, torch.where(state.alive[:, None], state.grad, 0.0), state.alive
    heard = torch.where(alive, state.loss, 0.0)
    history.point(params, None, state.loss, heard, grad)
    states: tuple[State, ...] = (state.rule_state, *state.teacher_states)
    updates = cast.updates(config.compile)
    for s in range(config.steps):
        history.before(states)
        delta, states = _listen(cast, updates, task, grad, steps[s], params, heard, states, actor[s])
        delta = torch.where(alive[:, None], delta, 0.0)
        point = params + delta
        batch = task.draw_batch(StepSeeds(ticket, state.step + s + 1))
        loss, grad = task.loss_and_grad(point, batch)
        sound = alive & torch.isfinite(loss) & (loss <= config.loss_cap) & torch.isfinite(grad).all(1)
        # A diverged instance stays where it was last sound: nothing of it can reach the numbers that count.
        params = torch.where(sound[:, None], point, params)
        grad = torch.where(sound[:, None], grad, 0.0)
        heard = torch.where(sound, loss, heard)
        history.point(params, batch, torch.where(alive, loss, torch.nan), heard, grad)
        history.after(torch.where(sound[:, None], delta, 0.0), sound)
        if config.meta_batch != SAME:
            history.scored(*_scored(config, ticket, task, state.step, s + 1, params, sound))
        alive = sound
    end = SlotState(
        params=params,
        rule_state=states[0],
        teacher_states=states[1:],
        grad=grad,
        loss=history.losses[-1],
        first_loss=state.first_loss,
        alive=alive,
        step=state.step + config.steps,
        segment=state.segment + 1,
        pending=state.pending,
    )
    return history.window(cast, task, actor, steps, end)


def _listen(
    cast: Cast,
    updates: Sequence[Update],
    task: TaskBatch,
    grad: Tensor,
    step: Tensor,
    params: Tensor,
    loss: Tensor,
    states: Sequence[State],
    actor: Tensor,
) -> tuple[Tensor, tuple[State, ...]]:
    """Everyone hears the gradient, one acts per instance: the displacement, and all new states."""
    heard = [
        update(phi, seen_by(rule, grad, step, params, loss, task.layout), old)
        for update, rule, phi, old in zip(updates, cast.rules, cast.phis, states, strict=True)
    ]
    delta = heard[0][0]
    for i, (teacher_delta, _) in enumerate(heard[1:], start=1):
        delta = torch.where((actor == i)[:, None], teacher_delta, delta)
    return delta, tuple(new for _, new in heard)


def _scored(
    config: UnrollConfig, ticket: Ticket, task: TaskBatch, begin: int, s: int, params: Tensor, sound: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss ``[K]`` and gradient ``[K, D]`` of the meta-loss's own minibatches at a point, their mean."""
    draws = meta_batch_seeds(config, ticket, begin, begin + s)
    found = [task.loss_and_grad(params, task.draw_batch(seeds)) for seeds in draws]
    loss = torch.stack([one for one, _ in found]).mean(0)
    grad = torch.stack([one for _, one in found]).mean(0)
    return torch.where(sound, loss, torch.nan), torch.where(sound[:, None], grad, 0.0)


class _History:
    """What the loop leaves behind, step by step."""

    def __init__(self, config: UnrollConfig, state: SlotState) -> None:
        self._config = config
        self._whole = config.credit != FIRST_ORDER
        own = nbytes([state.rule_state, *state.teacher_states])
        self._kept = kept_steps(config.steps, own, config.state_bytes)
        self._taken = 0
        self._states: list[tuple[State, ...]] = []
        self.params: list[Tensor] = []
        self.batches: list[Batch] = []
        self.losses: list[Tensor] = []
        self.heard: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.deltas: list[Tensor] = []
        self.counted: list[Tensor] = []
        self.meta: list[tuple[Tensor, Tensor]] = []

    def before(self, states: tuple[State, ...]) -> None:
        if self._whole and self._taken == self._kept[min(len(self._states), len(self._kept) - 1)]:
            self._states.append(states)
        self._taken += 1

    def point(self, params: Tensor, batch: Batch, loss: Tensor, heard: Tensor, grad: Tensor) -> None:
        if self._whole or not self.params:
            self.params.append(params)
            self.batches.append(batch)
        self.losses.append(loss)
        self.heard.append(heard)
        self.grads.append(grad)

    def after(self, delta: Tensor, sound: Tensor) -> None:
        self.deltas.append(delta)
        self.counted.append(sound)

    def scored(self, loss: Tensor, grad: Tensor) -> None:
        self.meta.append((loss, grad))

    def window(self, cast: Cast, task: TaskBatch, actor: Tensor, steps: Tensor, end: SlotState) -> Window:
        losses, grads = torch.stack(self.losses), torch.stack(self.grads)
        self.grads.clear()  # of a long window of many instances two copies are much
        visited = Visited(grads, self.params, torch.stack(self.heard), steps, task.layout)
        paths = []
        for i, (rule, phi) in enumerate(zip(cast.rules, cast.phis, strict=True)):
            if self._whole:
                kept = [states[i] for states in self._states]
                paths.append(Path(kept, self._kept, self._config.steps, partial(_advanced, rule, phi, visited)))
        return Window(
            visited=visited,
            batches=self.batches,
            losses=losses,
            meta_losses=torch.stack([loss for loss, _ in self.meta]) if self.meta else losses[1:],
            meta_grads=torch.stack([grad for _, grad in self.meta]) if self.meta else grads[1:],
            deltas=torch.stack(self.deltas),
            actor=actor,
            counted=torch.stack(self.counted),
            paths=tuple(paths),
            end=end,
        )


def _advanced(rule: Rule, phi: Phi, visited: Visited, k: int, state: State) -> State:
    with torch.no_grad():
        return rule.update(phi, visited.inputs(rule, k), state)[1]
