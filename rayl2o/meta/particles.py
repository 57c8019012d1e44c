"""Particles: many copies of a slot's instances side by side, each with weights of its own. Losses only, no graph, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rayl2o.meta.gradient import Tally
from rayl2o.rules.base import Phi, Rule, State, UpdatesEach, seen_by
from rayl2o.rules.registry import parse_rule
from rayl2o.tasks.base import TaskBatch
from rayl2o.unroll.built import built
from rayl2o.unroll.closed_loop import PENALTY
from rayl2o.unroll.meta_loss import terms
from rayl2o.unroll.rollout import device_of
from rayl2o.unroll.segment import DIVERGED, OK
from rayl2o.unroll.settings import SAME, UnrollConfig
from rayl2o.unroll.step_seeds import StepSeeds
from rayl2o.unroll.ticket import SlotState, Ticket
from rayl2o.unroll.window import Cast, actors, meta_batch_seeds, start

Step = Callable[[Phi, Tensor, State, Tensor, Tensor], tuple[Tensor, State]]


@dataclass(frozen=True)
class Flight:
    """A window of R = K P particles.

    Attributes:
        losses: ``[R]`` meta-losses, the weighted sums over the window; finite, for what follows a divergence is charged as in
            :func:`rayl2o.unroll.closed_loop.closed_loop`.
        tally: Of the particles' steps.
        end: The particles at its end. Of a dead one ``loss`` is its last sound loss.
    """

    losses: Tensor
    tally: Tally
    end: SlotState


def launch(rule: Rule, config: UnrollConfig, ticket: Ticket, phis: Phi, copies: int) -> SlotState:
    """R particles at the fresh initialisation of their instances, with the rule state that each particle's weights give.

    Particle p of instance k is row ``k copies + p``, so that a pair lies side by side and shares all that is drawn by instance.

    Args:
        rule, config, ticket: As in :func:`rayl2o.unroll.rollout.start`.
        phis: Weights of the particles, ``[R, ...]`` by name.
        copies: P, particles of each instance.

    Raises:
        UserError: If a loss is not finite there.
    """
    task = built(ticket.specs, config.torch_dtype, device_of(phis))

    def fresh(weights: Phi) -> State:
        return rule.init_state(weights, task.layout, 1, dtype=config.torch_dtype, device=device_of(weights))

    states = torch.func.vmap(fresh)(phis)
    state = spread(_begin(rule, config, ticket, phis, task), copies)
    return replace(state, rule_state={name: value.squeeze(1) for name, value in states.items()})


def spread(state: SlotState, copies: int) -> SlotState:
    """Every instance of a slot's state as that many equal particles."""

    def each(value: Tensor) -> Tensor:
        return value.repeat_interleave(copies, dim=0)

    return replace(
        state,
        params=each(state.params),
        rule_state={name: each(value) for name, value in state.rule_state.items()},
        teacher_states=tuple({name: each(value) for name, value in old.items()} for old in state.teacher_states),
        grad=each(state.grad),
        # A roll-out keeps no number of what has diverged; 0 leaves the charge to the first loss.
        loss=each(torch.where(state.alive, state.loss, 0.0)),
        first_loss=each(state.first_loss),
        alive=each(state.alive),
    )


def fly(
    rule: Rule,
    config: UnrollConfig,
    ticket: Ticket,
    begin: SlotState,
    phis: Phi,
    copies: int,
    chunk: int = 0,
) -> Flight:
    """U inner steps of R particles in one batch of tasks, each by the rule with its own weights.

    Args:
        rule, config, ticket: As in :func:`rayl2o.unroll.rollout.rollout`; ``config.credit`` and sampling are ignored. Teachers
            act where they would act on the instance.
        begin: The particles, from :func:`launch`, :func:`spread` or an earlier flight.
        phis: ``[R, ...]`` by name.
        copies: P, particles of each instance.
        chunk: Particles at a time in the rule's update; 0 for all.
    """
    with torch.no_grad():
        specs = [spec for spec in ticket.specs for _ in range(copies)]
        task = built(specs, config.torch_dtype, device_of(phis))
        teachers = tuple(parse_rule(text) for text in ticket.teachers)
        acting = actors(config, ticket, begin).to(begin.params.device).repeat_interleave(copies, dim=1)
        heard, now = list(begin.teacher_states), replace(begin, grad=_masked(begin.alive, begin.grad))
        losses, scored, counted = [], [], []
        for s in range(config.steps):
            step = torch.tensor(float(now.step), dtype=config.torch_dtype, device=now.params.device)
            if isinstance(rule, UpdatesEach) and not chunk:
                seen = seen_by(rule, now.grad, step, now.params, now.loss, task.layout)
                delta, rule_state = rule.update_each(phis, seen, now.rule_state)
            else:
                delta, rule_state = _update(_step(rule, step, task), phis, now, chunk)
            for i, teacher in enumerate(teachers):
                seen = seen_by(teacher, now.grad, step, now.params, now.loss, task.layout)
                made, heard[i] = teacher.update({}, seen, heard[i])
                delta = torch.where((acting[s] == i + 1)[:, None], made, delta)
            point = now.params + _masked(now.alive, delta)
            batch = task.draw_batch(StepSeeds(ticket, now.step + 1, copies))
            loss, grad = task.loss_and_grad(point, batch)
            sound = now.alive & torch.isfinite(loss) & (loss <= config.loss_cap) & torch.isfinite(grad).all(1)
            losses.append(loss)
            scored.append(
                loss if config.meta_batch == SAME else _scored(config, ticket, task, begin.step, s, point, copies)
            )
            counted.append(sound)
            # A diverged particle stays where it was last sound, with its loss of then.
            now = replace(
                now,
                params=torch.where(sound[:, None], point, now.params),
                rule_state=rule_state,
                grad=_masked(sound, grad),
                loss=torch.where(sound, loss, now.loss),
                alive=sound,
                step=now.step + 1,
            )
        end = replace(now, teacher_states=tuple(heard), segment=begin.segment + 1)
        kept, charge = torch.stack(counted), _charge(begin, end)
        charged = torch.where(kept, torch.stack(scored), charge)
        meta = terms(config, charged, begin.first_loss).sum(0)
        return Flight(meta, _tally(begin, end, torch.stack(losses), kept), end)


def _begin(rule: Rule, config: UnrollConfig, ticket: Ticket, phis: Phi, task: TaskBatch) -> SlotState:
    """The K instances at their start; all but the rule state, which is the first particle's."""
    cast = Cast.of(rule, {name: value[0] for name, value in phis.items()}, ticket)
    return start(cast, config, ticket, task)


def _step(rule: Rule, step: Tensor, task: TaskBatch) -> Step:
    """The rule's update of one particle, as instance 0 of 1, at an inner step."""

    def update(weights: Phi, grad: Tensor, state: State, params: Tensor, loss: Tensor) -> tuple[Tensor, State]:
        return rule.update(weights, seen_by(rule, grad, step, params, loss, task.layout), state)

    return update


def _update(update: Step, phis: Phi, now: SlotState, chunk: int) -> tuple[Tensor, State]:
    """All particles' ``delta [R, D]`` and new rule state."""
    state = {name: value.unsqueeze(1) for name, value in now.rule_state.items()}
    own = (phis, now.grad.unsqueeze(1), state, now.params.unsqueeze(1), now.loss[:, None])
    delta, state = torch.func.vmap(update, chunk_size=chunk or None)(*own)
    return delta.squeeze(1), {name: value.squeeze(1) for name, value in state.items()}


def _masked(rows: Tensor, values: Tensor) -> Tensor:
    return torch.where(rows[:, None], values, 0.0)


def _scored(
    config: UnrollConfig, ticket: Ticket, task: TaskBatch, begin: int, s: int, point: Tensor, copies: int
) -> Tensor:
    """``[R]``, the loss on the meta-loss's own minibatches, those of an instance shared by its particles."""
    draws = meta_batch_seeds(config, ticket, begin, begin + s + 1)
    shared = [[seed for seed in seeds for _ in range(copies)] for seeds in draws]
    return torch.stack([task.loss_and_grad(point, task.draw_batch(seeds))[0] for seeds in shared]).mean(0)


def _charge(begin: SlotState, end: SlotState) -> Tensor:
    """``[R]`` what a step costs from a divergence on; 0 if nothing has diverged."""
    if bool(end.alive.all()):
        return torch.zeros_like(end.loss)
    return torch.maximum(PENALTY * begin.first_loss.abs(), end.loss)


def _tally(begin: SlotState, end: SlotState, losses: Tensor, counted: Tensor) -> Tally:
    total = begin.loss[begin.alive].double().sum() + losses[counted].double().sum()
    return Tally(
        loss=float(total),
        points=int(begin.alive.sum()) + int(counted.sum()),
        steps=int(counted.sum()),
        status=tuple(OK if alive else DIVERGED for alive in end.alive.tolist()),
    )
