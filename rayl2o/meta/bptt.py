"""Back-propagation through the unroll: the meta-gradient by autograd over the window. The oracle of ``rtg``, and its rival."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.rules.base import Inputs, Phi, Rule
from rayl2o.rules.registry import parse_rule
from rayl2o.tasks.registry import build
from rayl2o.unroll.rollout import actors, batch_seeds, start
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket


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
        Gradients by name, mean over instances, and the meta-loss (mean over instances of ``sum_t w[t] f(params[t])``).
    """
    task = build(ticket.specs, dtype=config.torch_dtype)
    teachers = tuple(parse_rule(text) for text in ticket.teachers)
    state = slot_state or start(rule, teachers, config, ticket, phi, task)
    leaves = {name: value.detach().clone().requires_grad_() for name, value in phi.items()}
    acting, weights = actors(config, ticket, state), config.weights()
    params, grad = state.params, torch.where(state.alive[:, None], state.grad, 0.0)
    rule_state, teacher_states = state.rule_state, list(state.teacher_states)
    total = torch.zeros((), dtype=config.torch_dtype)
    with torch.enable_grad():
        for s in range(config.steps):
            step = torch.tensor(float(state.step + s), dtype=config.torch_dtype)
            inputs = Inputs(grad=grad, step=step, params=params if second_order else params.detach())
            delta, rule_state = rule.update(leaves, inputs, rule_state)
            for i, teacher in enumerate(teachers):
                teacher_delta, teacher_states[i] = teacher.update({}, inputs, teacher_states[i])
                delta = torch.where((acting[s] == i + 1)[:, None], teacher_delta, delta)
            params = params + torch.where(state.alive[:, None], delta, 0.0)
            batch = task.draw_batch(batch_seeds(ticket, state.step + s + 1))
            if not params.requires_grad:
                params.requires_grad_()
            losses = task.loss(params, batch)
            total = total + weights[s] * torch.where(state.alive, losses, 0.0).mean()
            if s < config.steps - 1:
                (grad,) = torch.autograd.grad(losses.sum(), params, create_graph=second_order, retain_graph=True)
                grad = grad if second_order else grad.detach()
    grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    filled = (torch.zeros_like(p) if g is None else g for g, p in zip(grads, leaves.values(), strict=True))
    return dict(zip(leaves, filled, strict=True)), total.detach()
