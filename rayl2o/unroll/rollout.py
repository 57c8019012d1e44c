"""One segment of one slot: ``(ticket, slot_state, phi) -> (segment, slot_state')``. Numbers only, never a graph, no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Inputs, Phi, Rule, State
from rayl2o.rules.registry import parse_rule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import Batch, TaskBatch
from rayl2o.tasks.registry import build
from rayl2o.unroll import credit as credits
from rayl2o.unroll.sampling import draw
from rayl2o.unroll.segment import DIVERGED, MIX, OK, STUDENT, TEACHER, Provenance, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket


def rollout(
    rule: Rule, config: UnrollConfig, ticket: Ticket, slot_state: SlotState | None, phi: Phi, version: int = 0
) -> tuple[Segment, SlotState]:
    """Runs U inner steps of K instances and records them.

    Everything but phi is determined by the ticket: equal arguments give equal bytes, in any process with one thread.

    Args:
        rule: The student.
        config: Settings of the unroll.
        ticket: What to run.
        slot_state: Where the trajectory stands; None starts it.
        phi: The student's weights, dtype ``config.dtype``.
        version: Version of phi, recorded.

    Returns:
        The segment and the state at its end. Divergence is a status in the segment, never an exception.

    Raises:
        UserError: If a loss is not finite at a fresh initialisation, or the window does not fit ``history_bytes``.
    """
    with torch.no_grad():
        task = build(ticket.specs, dtype=config.torch_dtype)
        _check_history(task, config)
        teachers = tuple(parse_rule(text) for text in ticket.teachers)
        begin = start(rule, teachers, config, ticket, phi, task) if slot_state is None else slot_state
        trace = _run(rule, teachers, config, ticket, begin, phi, task)
        credit = _credit(rule, teachers, config, phi, task, trace)
        segment = _record(rule, config, ticket, begin, trace, credit, version, task)
        return segment, trace.end


@dataclass(frozen=True)
class _Trace:
    """What a window leaves behind before coordinates are drawn; time leads: ``[U+1, K, ...]`` or ``[U, K, ...]``."""

    params: list[Tensor]
    batches: list[Batch]
    losses: Tensor
    grads: Tensor
    deltas: Tensor
    actor: Tensor
    counted: Tensor
    steps: Tensor
    rule_states: list[State]
    teacher_states: list[tuple[State, ...]]
    end: SlotState


def _check_history(task: TaskBatch, config: UnrollConfig) -> None:
    needed = 4 * config.steps * task.k * task.layout.size
    if needed > config.history_bytes:
        raise UserError(
            f"a window of {config.steps} steps x {task.k} instances x {task.layout.size} coordinates needs {needed} bytes",
            value=config.history_bytes,
            mend="raise unroll.history_bytes, or lower instances or unroll.steps",
        )


def batch_seeds(ticket: Ticket, step: int) -> list[int]:
    """One minibatch seed per instance at an inner step."""
    return [
        derive_seed(ticket.run_seed, "batch", ticket.slot, ticket.ordinal, k, step) for k in range(len(ticket.specs))
    ]


def start(
    rule: Rule, teachers: tuple[Rule, ...], config: UnrollConfig, ticket: Ticket, phi: Phi, task: TaskBatch
) -> SlotState:
    """The state at a fresh initialisation. Raises UserError if a loss is not finite there."""
    seeds = [derive_seed(ticket.run_seed, "init", ticket.slot, ticket.ordinal, k) for k in range(task.k)]
    params = task.init_params(seeds)
    loss, grad = task.loss_and_grad(params, task.draw_batch(batch_seeds(ticket, 0)))
    if not bool(torch.isfinite(loss).all()):
        bad = int((~torch.isfinite(loss)).nonzero()[0])
        raise UserError(
            f"the loss of task {ticket.specs[bad].family!r} is not finite at its first step",
            value=float(loss[bad]),
            mend=f"check the settings {dict(ticket.specs[bad].settings)} and the data",
        )
    dtype = config.torch_dtype
    return SlotState(
        params=params,
        rule_state=rule.init_state(phi, task.layout, task.k, dtype=dtype),
        teacher_states=tuple(t.init_state({}, task.layout, task.k, dtype=dtype) for t in teachers),
        grad=grad,
        loss=loss,
        alive=torch.ones(task.k, dtype=torch.bool),
        step=0,
        segment=0,
    )


def actors(config: UnrollConfig, ticket: Ticket, state: SlotState) -> Tensor:
    """int8 ``[U, K]``: who acts. All draws come before the window, so that they depend on nothing in it."""
    shape = (config.steps, len(ticket.specs))
    if ticket.behaviour != MIX:
        return torch.full(shape, int(ticket.behaviour == TEACHER), dtype=torch.int8)
    draws = generator(ticket.run_seed, "behaviour", ticket.slot, ticket.ordinal, state.step)
    teacher = torch.randint(1, len(ticket.teachers) + 1, shape, generator=draws)
    return torch.where(torch.rand(shape, generator=draws) < ticket.teacher_share, teacher, 0).to(torch.int8)


def _run(
    rule: Rule,
    teachers: tuple[Rule, ...],
    config: UnrollConfig,
    ticket: Ticket,
    state: SlotState,
    phi: Phi,
    task: TaskBatch,
) -> _Trace:
    actor = actors(config, ticket, state)
    steps = torch.arange(state.step, state.step + config.steps, dtype=config.torch_dtype)
    keep_path = config.credit == "exact"
    params, batches, losses, grads = [state.params], [None], [state.loss], [state.grad]
    deltas, counted, rule_states, teacher_states = [], [], [state.rule_state], [state.teacher_states]
    alive = state.alive
    grads[0] = torch.where(alive[:, None], grads[0], 0.0)
    for s in range(config.steps):
        inputs = Inputs(grad=grads[-1], step=steps[s], params=params[-1])
        delta, rule_state, heard = _listen(rule, teachers, phi, inputs, rule_states[-1], teacher_states[-1], actor[s])
        delta = torch.where(alive[:, None], delta, 0.0)
        point = params[-1] + delta
        batch = task.draw_batch(batch_seeds(ticket, state.step + s + 1))
        loss, grad = task.loss_and_grad(point, batch)
        sound = alive & torch.isfinite(loss) & (loss <= config.loss_cap) & torch.isfinite(grad).all(1)
        # A diverged instance stays where it was last sound: nothing of it can reach the numbers that count.
        params.append(torch.where(sound[:, None], point, params[-1]))
        grads.append(torch.where(sound[:, None], grad, 0.0))
        deltas.append(torch.where(sound[:, None], delta, 0.0))
        losses.append(torch.where(alive, loss, torch.nan))
        batches.append(batch)
        counted.append(sound)
        alive = sound
        if keep_path:
            rule_states.append(rule_state)
            teacher_states.append(heard)
        else:
            rule_states[1:], teacher_states[1:] = [rule_state], [heard]
    end = SlotState(
        params=params[-1],
        rule_state=rule_states[-1],
        teacher_states=teacher_states[-1],
        grad=grads[-1],
        loss=losses[-1],
        alive=alive,
        step=state.step + config.steps,
        segment=state.segment + 1,
    )
    return _Trace(
        params,
        batches,
        torch.stack(losses),
        torch.stack(grads),
        torch.stack(deltas),
        actor,
        torch.stack(counted),
        steps,
        rule_states,
        teacher_states,
        end,
    )


def _listen(
    rule: Rule,
    teachers: tuple[Rule, ...],
    phi: Phi,
    inputs: Inputs,
    rule_state: State,
    teacher_states: tuple[State, ...],
    actor: Tensor,
) -> tuple[Tensor, State, tuple[State, ...]]:
    """Everyone hears the gradient, one acts per instance: the displacement, and all new states."""
    delta, rule_state = rule.update(phi, inputs, rule_state)
    heard = [teacher.update({}, inputs, old) for teacher, old in zip(teachers, teacher_states, strict=True)]
    for i, (teacher_delta, _) in enumerate(heard, start=1):
        delta = torch.where((actor == i)[:, None], teacher_delta, delta)
    return delta, rule_state, tuple(new for _, new in heard)


def _credit(
    rule: Rule, teachers: tuple[Rule, ...], config: UnrollConfig, phi: Phi, task: TaskBatch, trace: _Trace
) -> Tensor:
    weights = torch.tensor(config.weights(), dtype=config.torch_dtype)
    if config.credit == "first_order":
        return credits.first_order(trace.grads, weights)
    acted = trace.counted.to(config.torch_dtype)
    listeners = [credits.Listener(rule, phi, trace.rule_states, acted * (trace.actor == 0))]
    for i, teacher in enumerate(teachers):
        states = [before[i] for before in trace.teacher_states]
        listeners.append(credits.Listener(teacher, {}, states, acted * (trace.actor == i + 1)))

    def hvp(t: int, vector: Tensor) -> Tensor:
        sound = trace.counted[t - 1][:, None]
        product = task.hvp(trace.params[t], trace.batches[t], vector)
        return torch.where(sound, product, 0.0)

    return credits.exact(trace.grads, trace.params, weights, trace.steps, listeners, hvp)


def _record(
    rule: Rule,
    config: UnrollConfig,
    ticket: Ticket,
    begin: SlotState,
    trace: _Trace,
    credit: Tensor,
    version: int,
    task: TaskBatch,
) -> Segment:
    # A teacher's rows are imitated everywhere alike: a dead coordinate must learn to stand still (design.md section 6).
    scheme = "uniform" if ticket.behaviour == TEACHER and config.sampling != "all" else config.sampling
    scores = credit.square().sum(0).sqrt()
    rows = [
        draw(
            scheme,
            scores[k],
            task.layout.sizes,
            config.coords_per_row,
            generator(ticket.run_seed, "coords", ticket.slot, ticket.ordinal, k, begin.step),
        )
        for k in range(task.k)
    ]
    coords = torch.stack([row[0] for row in rows])
    index = coords.long()
    time_index = index[None].expand(config.steps, -1, -1)

    def pick(column: Tensor) -> Tensor:
        return column.gather(2, time_index).transpose(0, 1).contiguous()

    states = begin.rule_state["coord"]
    state_index = index[..., None].expand(-1, -1, states.shape[-1])
    alive_end = trace.end.alive
    return Segment(
        source=provenance(ticket, begin, version),
        status=tuple(OK if alive else DIVERGED for alive in alive_end.tolist()),
        valid=trace.counted.sum(0).int(),
        loss=trace.losses.t().contiguous(),
        coords=coords,
        weight=torch.stack([row[1] for row in rows]),
        grad=pick(torch.where(trace.counted[..., None], trace.grads[:-1], 0.0)),
        credit=pick(credit),
        delta=pick(trace.deltas),
        actor=trace.actor.t().contiguous(),
        coord_state=states.gather(1, state_index),
        tensor_state=begin.rule_state.get("tensor"),
        global_state=begin.rule_state.get("global"),
        params=begin.params if "params" in rule.needs else None,
    )


def provenance(ticket: Ticket, begin: SlotState, version: int) -> Provenance:
    """Of the window that begins there, acted in by that version of phi."""
    return Provenance(
        run_id=ticket.run_id,
        family=ticket.specs[0].family,
        specs=tuple(json.dumps(spec.to_json(), sort_keys=True) for spec in ticket.specs),
        seed=ticket.run_seed,
        slot=ticket.slot,
        ordinal=ticket.ordinal,
        segment=begin.segment,
        start_step=begin.step,
        policy_version=version,
        behaviour=ticket.behaviour,
    )


def student_only(ticket: Ticket) -> Ticket:
    """The same trajectory with the student acting at every step."""
    return replace(ticket, behaviour=STUDENT, teachers=(), teacher_share=0.0)
