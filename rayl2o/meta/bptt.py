"""Back-propagation through the unroll: the meta-gradient by autograd over the window. The oracle of ``rtg``, and its rival."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Phi, Rule, seen_by
from rayl2o.tasks.base import TaskBatch
from rayl2o.unroll.built import built
from rayl2o.unroll.meta_loss import terms
from rayl2o.unroll.rollout import device_of
from rayl2o.unroll.settings import SAME, UnrollConfig
from rayl2o.unroll.step_seeds import StepSeeds
from rayl2o.unroll.ticket import SlotState, Ticket
from rayl2o.unroll.window import Cast, actors, meta_batch_seeds, start


def bptt(
    rule: Rule,
    config: UnrollConfig,
    ticket: Ticket,
    slot_state: SlotState | None,
    phi: Phi,
    second_order: bool,
) -> tuple[Phi, Tensor]:
    """Gradient of the window's meta-loss in phi, with a graph over the whole unroll (memory grows with U).

    The same trajectory as :func:`rayl2o.unroll.rollout.rollout` makes from the same arguments. An instance that diverged in an
    earlier window stands still and adds nothing; one that diverges in this window may make the gradient not finite.

    Args:
        rule, config, ticket, slot_state, phi: As in ``rollout``; ``config.credit`` and sampling are ignored.
        second_order: False detaches what the rule sees (papers S and T), True differentiates it too (paper R).

    Returns:
        Gradients by name, mean over instances, and the meta-loss (mean over instances).

    Raises:
        UserError: At the start of a trajectory, before any graph is built, if that of a window is predicted to exceed
            ``config.graph_bytes``.
    """
    task = built(ticket.specs, config.torch_dtype, device_of(phi))
    cast = Cast.of(rule, phi, ticket)
    state = slot_state or start(cast, config, ticket, task)
    if slot_state is None:
        _check_memory(graph_bytes(cast, config, ticket, state, task, second_order), config, task.k)
    return through(cast, config, ticket, state, task, second_order)


def _check_memory(needed: int, config: UnrollConfig, k: int) -> None:
    if needed > config.graph_bytes:
        raise UserError(
            f"the graph of {config.steps} steps x {k} instances is predicted to need {needed} bytes",
            value=f"unroll.graph_bytes={config.graph_bytes}",
            mend="use estimator=rtg, which keeps no graph over the window, fewer steps or instances, or raise the limit",
        )


def graph_bytes(
    cast: Cast, config: UnrollConfig, ticket: Ticket, state: SlotState, task: TaskBatch, second_order: bool
) -> int:
    """Predicted bytes that autograd keeps over the window: a first step, and U - 1 times what a second one adds to it."""
    kept = []
    for steps in (1, 2):
        short = replace(config, steps=steps, step_weights=config.step_weights[:steps], credit_horizon=0, credit_delay=0)
        seen: dict[int, int] = {}

        def note(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            through(cast, short, ticket, state, task, second_order)
        kept.append(sum(seen.values()))
    return kept[0] + (config.steps - 1) * max(kept[1] - kept[0], 0)


def through(
    cast: Cast, config: UnrollConfig, ticket: Ticket, state: SlotState, task: TaskBatch, second_order: bool
) -> tuple[Phi, Tensor]:
    """The gradient in the student's phi and the meta-loss, from ``state`` on; see :func:`bptt`."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in cast.phis[0].items()}
    phis = (leaves, *cast.phis[1:])
    acting = actors(config, ticket, state)
    params, grad = state.params, torch.where(state.alive[:, None], state.grad, 0.0)
    loss, states = torch.where(state.alive, state.loss, 0.0), [state.rule_state, *state.teacher_states]
    scored: list[Tensor] = []
    with torch.enable_grad():
        for s in range(config.steps):
            step = torch.tensor(float(state.step + s), dtype=config.torch_dtype, device=params.device)
            point, told = (params, loss) if second_order else (params.detach(), loss.detach())
            moves: list[Tensor] = []
            for i, rule in enumerate(cast.rules):
                move, states[i] = rule.update(phis[i], seen_by(rule, grad, step, point, told, task.layout), states[i])
                moves.append(move)
            delta = moves[0]
            for i, move in enumerate(moves[1:], start=1):
                delta = torch.where((acting[s] == i).to(delta.device)[:, None], move, delta)
            params = params + torch.where(state.alive[:, None], delta, 0.0)
            if not params.requires_grad:
                params.requires_grad_()
            loss = task.loss(params, task.draw_batch(StepSeeds(ticket, state.step + s + 1)))
            scored.append(
                loss if config.meta_batch == SAME else _scored(config, ticket, task, state.step, s + 1, params)
            )
            if s < config.steps - 1:
                (grad,) = torch.autograd.grad(loss.sum(), params, create_graph=second_order, retain_graph=True)
                grad = grad if second_order else grad.detach()
        losses = terms(config, torch.stack(scored), state.first_loss)
        total = torch.where(state.alive, losses, 0.0).mean(1).sum()
    grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    filled = (torch.zeros_like(p) if g is None else g for g, p in zip(grads, leaves.values(), strict=True))
    return dict(zip(leaves, filled, strict=True)), total.detach()


def _scored(config: UnrollConfig, ticket: Ticket, task: TaskBatch, begin: int, s: int, params: Tensor) -> Tensor:
    draws = meta_batch_seeds(config, ticket, begin, begin + s)
    return torch.stack([task.loss(params, task.draw_batch(seeds)) for seeds in draws]).mean(0)
