"""Credit: the meta-gradient as a column of numbers (design.md section 3; docs/meta-gradient.md has the derivation).

For a window of U steps with ``params[s+1] = params[s] + delta[s]`` and meta-loss ``sum_{t=1..U} w[t] f(params[t])``::

    dL/dphi = sum_s credit[s] . d delta[s] / d phi      (total derivative through the rule's recurrence, g held fixed)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule, State, seen_by

VJP_BYTES = 2**24
"""State of the instances whose cell runs backwards at a time."""
_SEEN = ("grad", "params", "loss")

Hvp = Callable[[int, Tensor], Tensor]
"""``hvp(t, vector [K, D]) -> [K, D]``: the Hessian of f at params[t], minibatch t, times a vector."""


@dataclass(frozen=True)
class Listener:
    """A rule that ran along the window, with what is needed to run its cell backwards.

    Attributes:
        rule, phi: The rule.
        states: Its state before each of the U steps; read from the last to the first.
        acted: ``[U, K]``, 1 where its update was the one made.
    """

    rule: Rule
    phi: Mapping[str, Tensor]
    states: Sequence[State]
    acted: Tensor


@dataclass(frozen=True)
class Visited:
    """What the rules of a window saw.

    Attributes:
        grads: ``[U+1, K, D]``, g[0..U], zero from an instance's divergence on.
        params: U+1 of ``[K, D]``, params[0..U].
        losses: ``[U+1, K]``, as they were told to the rules.
        steps: ``[U]``, the absolute step of each update.
        layout: Of the D coordinates.
    """

    grads: Tensor
    params: Sequence[Tensor]
    losses: Tensor
    steps: Tensor
    layout: Layout

    def inputs(self, rule: Rule, k: int) -> Inputs:
        """What a rule saw at update k of the window."""
        return seen_by(rule, self.grads[k], self.steps[k], self.params[k], self.losses[k], self.layout)


def first_order(direct: Tensor, discount: float = 1.0) -> Tensor:
    """Return-to-go of gradients: ``c[s] = sum_{t>s} discount^(t-s-1) w[t] g[t]`` (the rule's inputs are constants; S and T).

    Args:
        direct: ``[U, K, D]``, the gradient of the meta-loss at params[1..U]: ``w[t] g[t]``.
        discount: 1 is the papers'; below it the sum is no gradient of one loss any more.

    Returns:
        ``[U, K, D]``.
    """
    if discount == 1.0:
        return direct.flip(0).cumsum(0).flip(0)
    credit = torch.empty_like(direct)
    credit[-1] = direct[-1]
    for s in range(len(direct) - 2, -1, -1):
        torch.add(direct[s], credit[s + 1], alpha=discount, out=credit[s])
    return credit


def exact(
    visited: Visited, direct: Tensor, listeners: Sequence[Listener], hvp: Hvp, through_state: bool = True
) -> Tensor:
    """Credit that includes how later updates answer to earlier ones (paper R: second derivatives).

    One reverse sweep: ``c[s] = w[s+1] g[s+1] + c[s+1] + H[s+1] v[s+1] + u[s+1]``, where v[k] is the derivative of
    ``sum_{j>=k} c[j] . delta[j]`` by the rule's input g[k], and u[k] by its inputs params[k] and loss (0 where it does not read
    them). A vector-Jacobian product of each listener's cell carries v, u and the adjoint of its state. No graph spans the window.

    Args:
        visited: What the rules saw.
        direct: ``[U, K, D]`` as in :func:`first_order`.
        listeners: The student and the teachers; every one saw every gradient.
        hvp: Hessian-vector products; called for t = U-1..1.
        through_state: False leaves out the path through the rules' states: ``v[k] = (d delta[k] / d g[k]) c[k]``, the curvature
            credit.

    Returns:
        ``[U, K, D]``.
    """
    horizon = len(direct)
    credit = torch.empty_like(direct)
    credit[-1] = direct[-1]
    adjoints: list[State | None] = [None] * len(listeners)
    for k in range(horizon - 1, 0, -1):
        total, beside = torch.zeros_like(direct[0]), torch.zeros_like(direct[0])
        for i, listener in enumerate(listeners):
            upstream = credit[k] * listener.acted[k][:, None]
            v, u, adjoint = _in_rows(listener, k, visited.inputs(listener.rule, k), upstream, adjoints[i])
            adjoints[i] = adjoint if through_state else None
            total += v
            beside += u
        credit[k - 1] = direct[k - 1] + credit[k] + hvp(k, total) + beside
    return credit


def _in_rows(
    listener: Listener, k: int, inputs: Inputs, upstream: Tensor, adjoint: State | None
) -> tuple[Tensor, Tensor, State]:
    """:func:`_cell_vjp` some instances at a time: autograd keeps a dozen times the state of what it is given."""
    state = listener.states[k]
    bytes_each = sum(value[:1].numel() * value.element_size() for value in state.values())
    rows = max(1, VJP_BYTES // max(bytes_each, 1))
    if rows >= len(upstream):
        return _cell_vjp(listener, state, inputs, upstream, adjoint)
    parts = []
    for start in range(0, len(upstream), rows):
        cut = slice(start, start + rows)
        some = {name: part[cut] for name in _SEEN if (part := getattr(inputs, name)) is not None}
        held = None if adjoint is None else _cut(adjoint, cut)
        parts.append(_cell_vjp(listener, _cut(state, cut), replace(inputs, **some), upstream[cut], held))
    adjoints = {name: torch.cat([part[2][name] for part in parts]) for name in state}
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]), adjoints


def _cut(state: State, rows: slice) -> State:
    return {name: value[rows] for name, value in state.items()}


def _cell_vjp(
    listener: Listener, before: State, inputs: Inputs, upstream: Tensor, adjoint: State | None
) -> tuple[Tensor, Tensor, State]:
    """Cotangents of (g[k], params[k], state[k]) from those of (delta[k], state[k+1])."""
    with torch.enable_grad():
        seen = {name: value.detach().requires_grad_() for name in _SEEN if (value := getattr(inputs, name)) is not None}
        state = {name: value.detach().requires_grad_() for name, value in before.items()}
        moved = Inputs(step=inputs.step, layout=inputs.layout, **seen)
        delta, new_state = listener.rule.update(listener.phi, moved, state)
        outputs, cotangents = [delta], [upstream]
        for name, value in new_state.items():
            if adjoint is not None and value.requires_grad:
                outputs.append(value)
                cotangents.append(adjoint[name])
        leaves = [*seen.values(), *state.values()]
        if not delta.requires_grad and len(outputs) == 1:
            grads: Sequence[Tensor | None] = [None] * len(leaves)
        else:
            grads = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)
    filled = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(grads, leaves, strict=True)]
    found = dict(zip(seen, filled, strict=False))
    beside = found.get("params", torch.zeros_like(inputs.grad))
    if "loss" in found:  # the loss moves with the params by the very gradient that the rule is shown
        beside = beside + found["loss"] * inputs.grad
    return found["grad"], beside, dict(zip(state, filled[len(seen) :], strict=True))
