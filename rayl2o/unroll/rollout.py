"""One segment of one slot: ``(ticket, slot_state, phi) -> (segment, slot_state')``. Numbers only, never a graph, no I/O."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Phi, Rule
from rayl2o.seeds import generator
from rayl2o.tasks.base import TaskBatch
from rayl2o.unroll import credit as credits
from rayl2o.unroll.built import built
from rayl2o.unroll.horizon import credited
from rayl2o.unroll.meta_loss import point_weights
from rayl2o.unroll.sampling import draw
from rayl2o.unroll.segment import DIVERGED, OK, STUDENT, TEACHER, Provenance, Segment
from rayl2o.unroll.settings import EXACT, FIRST_ORDER, UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket
from rayl2o.unroll.window import Cast, Window, run_window, start


def rollout(
    rule: Rule, config: UnrollConfig, ticket: Ticket, slot_state: SlotState | None, phi: Phi, version: int = 0
) -> tuple[Segment, SlotState]:
    """Runs U inner steps of K instances and records them.

    Everything but phi is determined by the ticket: equal arguments give equal bytes, in any process with one thread. With a
    credit horizon the segment is the oldest one that waited (:mod:`rayl2o.unroll.horizon`).

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
        UserError: If a loss is not finite at a fresh initialisation, the window does not fit ``history_bytes``, or coordinates
            of a rule that needs whole tensors were to be sampled.
    """
    with torch.no_grad():
        task = built(ticket.specs, config.torch_dtype, device_of(phi))
        _check(rule, task, config)
        cast = Cast.of(rule, phi, ticket)
        state = start(cast, config, ticket, task) if slot_state is None else slot_state
        if not config.waiting:
            window = run_window(cast, config, ticket, state, task)
            credit = _credit(cast, config, task, window, _direct(config, window))
            segment = _record(rule, config, ticket, state, window, credit, version, task)
            return segment, window.end
        while not state.stopped(ticket) and len(state.pending) <= config.waiting:
            state = _wait(cast, config, ticket, state, task, version)
        oldest, *others = state.pending
        return _sampled(oldest, config, ticket, task), replace(state, pending=tuple(others))


def device_of(phi: Phi) -> torch.device:
    """Where phi is; everything else of a roll-out is there too."""
    return next(iter(phi.values())).device if phi else torch.device("cpu")


def _check(rule: Rule, task: TaskBatch, config: UnrollConfig) -> None:
    needed = 4 * config.steps * task.k * task.layout.size
    if needed > config.history_bytes:
        raise UserError(
            f"a window of {config.steps} steps x {task.k} instances x {task.layout.size} coordinates needs {needed} bytes",
            value=config.history_bytes,
            mend="raise unroll.history_bytes, or lower instances or unroll.steps",
        )
    if not rule.coordinatewise and config.sampling != "all":
        raise UserError(
            f"rule {rule.kind!r} needs whole tensors, so its coordinates cannot be sampled",
            value=f"unroll.sampling={config.sampling}",
            mend="use unroll.sampling=all",
        )


def _direct(config: UnrollConfig, window: Window) -> Tensor:
    """``[U, K, D]``, the gradient of the meta-loss at each of params[1..U] alone."""
    weights = point_weights(config, window.meta_losses, window.end.first_loss)
    return window.meta_grads * weights[..., None]


def _credit(cast: Cast, config: UnrollConfig, task: TaskBatch, window: Window, direct: Tensor) -> Tensor:
    if config.credit == FIRST_ORDER:
        return credits.first_order(direct, config.discount)
    acted = window.counted.to(config.torch_dtype)
    listeners = [
        credits.Listener(rule, phi, path, acted * (window.actor == i))
        for i, (rule, phi, path) in enumerate(zip(cast.rules, cast.phis, window.paths, strict=True))
    ]

    def hvp(t: int, vector: Tensor) -> Tensor:
        sound = window.counted[t - 1][:, None]
        product = task.hvp(window.visited.params[t], window.batches[t], vector)
        return torch.where(sound, product, 0.0)

    return credits.exact(window.visited, direct, listeners, hvp, through_state=config.credit == EXACT)


def _wait(
    cast: Cast, config: UnrollConfig, ticket: Ticket, state: SlotState, task: TaskBatch, version: int
) -> SlotState:
    """The state after one more window, whose segment waits behind those that it credits."""
    window = run_window(cast, config, ticket, state, task)
    direct = _direct(config, window)
    credit = _credit(cast, config, task, window, direct)
    whole = replace(config, sampling="all")
    segment = _record(cast.rules[0], whole, ticket, state, window, credit, version, task)
    return replace(window.end, pending=(*credited(config, state.pending, direct, state.step), segment))


def _record(
    rule: Rule,
    config: UnrollConfig,
    ticket: Ticket,
    begin: SlotState,
    window: Window,
    credit: Tensor,
    version: int,
    task: TaskBatch,
) -> Segment:
    coords, weight = _coordinates(config, ticket, task, credit.square().sum(0).sqrt(), begin.step)
    index = coords.long()
    time_index = index[None].expand(config.steps, -1, -1)

    def pick(column: Tensor) -> Tensor:
        return column.gather(2, time_index).transpose(0, 1).contiguous()

    states = begin.rule_state["coord"]
    return Segment(
        source=provenance(ticket, begin, version),
        status=tuple(OK if alive else DIVERGED for alive in window.end.alive.tolist()),
        valid=window.counted.sum(0).int(),
        loss=window.losses.t().contiguous(),
        coords=coords,
        weight=weight,
        grad=pick(torch.where(window.counted[..., None], window.visited.grads[:-1], 0.0)),
        credit=pick(credit),
        delta=pick(window.deltas),
        actor=window.actor.t().contiguous(),
        coord_state=states.gather(1, index[..., None].expand(-1, -1, states.shape[-1])),
        tensor_state=begin.rule_state.get("tensor"),
        global_state=begin.rule_state.get("global"),
        params=begin.params if "params" in rule.needs else None,
    )


def _coordinates(
    config: UnrollConfig, ticket: Ticket, task: TaskBatch, scores: Tensor, begin: int
) -> tuple[Tensor, Tensor]:
    """int32 ``[K, C]`` and weights ``[K, C]``, drawn by ``scores [K, D]`` for the window that begins at a step."""
    if config.sampling == "all":  # nothing is drawn: no generators for a thousand instances
        every = torch.arange(task.layout.size, dtype=torch.int32, device=scores.device)
        return every.expand(task.k, -1).contiguous(), torch.ones_like(scores)
    # A teacher's rows are imitated everywhere alike: a dead coordinate must learn to stand still (design.md section 6).
    scheme = "uniform" if ticket.behaviour == TEACHER else config.sampling
    rows = [
        draw(
            scheme,
            scores[k].cpu(),
            task.layout.sizes,
            config.coords_per_row,
            generator(ticket.run_seed, "coords", ticket.slot, ticket.ordinal, k, begin),
        )
        for k in range(task.k)
    ]
    device = scores.device
    return torch.stack([row[0] for row in rows]).to(device), torch.stack([row[1] for row in rows]).to(device)


def _sampled(segment: Segment, config: UnrollConfig, ticket: Ticket, task: TaskBatch) -> Segment:
    """A whole segment with the coordinates drawn that the config wants."""
    if config.sampling == "all":
        return segment
    scores = segment.credit.square().sum(1).sqrt()
    return segment.at(*_coordinates(config, ticket, task, scores, segment.source.start_step))


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
    return replace(ticket, behaviour=STUDENT, teachers=(), teacher_share=0.0, teacher_weights=())
