"""Credit: the meta-gradient as a column of numbers (design.md section 3; docs/meta-gradient.md has the derivation).

For a window of U steps with ``params[s+1] = params[s] + delta[s]`` and meta-loss ``sum_{t=1..U} w[t] f(params[t])``::

    dL/dphi = sum_s credit[s] . d delta[s] / d phi      (total derivative through the rule's recurrence, g held fixed)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.rules.base import Inputs, Rule, State

Hvp = Callable[[int, Tensor], Tensor]
"""``hvp(t, vector [K, D]) -> [K, D]``: the Hessian of f at params[t], minibatch t, times a vector."""


@dataclass(frozen=True)
class Listener:
    """A rule that ran along the window, with what is needed to run its cell backwards.

    Attributes:
        rule, phi: The rule.
        states: Its state before each of the U steps.
        acted: ``[U, K]``, 1 where its update was the one made.
    """

    rule: Rule
    phi: Mapping[str, Tensor]
    states: Sequence[State]
    acted: Tensor


def first_order(grads: Tensor, weights: Tensor) -> Tensor:
    """Return-to-go of gradients: ``c[s] = sum_{t>s} w[t] g[t]`` (the rule's inputs are constants; papers S and T).

    Args:
        grads: ``[U+1, K, D]``, g[0..U], zero from an instance's divergence on.
        weights: ``[U]``, w[1..U].

    Returns:
        ``[U, K, D]``.
    """
    return (grads[1:] * weights[:, None, None]).flip(0).cumsum(0).flip(0)


def exact(
    grads: Tensor,
    params: Sequence[Tensor],
    weights: Tensor,
    steps: Tensor,
    listeners: Sequence[Listener],
    hvp: Hvp,
) -> Tensor:
    """Credit that includes how later updates answer to earlier ones (paper R: second derivatives).

    One reverse sweep: ``c[s] = w[s+1] g[s+1] + c[s+1] + H[s+1] v[s+1] + u[s+1]``, where v[k] is the derivative of
    ``sum_{j>=k} c[j] . delta[j]`` by the rule's input g[k], and u[k] by its input params[k] (0 where it does not read them). A
    vector-Jacobian product of each listener's cell carries v, u and the adjoint of its state. No graph spans the window.

    Args:
        grads: ``[U+1, K, D]`` as in :func:`first_order`.
        params: U+1 of ``[K, D]``, params[0..U].
        weights: ``[U]``, w[1..U].
        steps: ``[U]``, the absolute step of each update.
        listeners: The student and the teachers; every one saw every gradient.
        hvp: Hessian-vector products; called for t = U-1..1.

    Returns:
        ``[U, K, D]``.
    """
    horizon = len(grads) - 1
    credit = torch.empty_like(grads[1:])
    credit[-1] = weights[-1] * grads[-1]
    adjoints: list[State | None] = [None] * len(listeners)
    for k in range(horizon - 1, 0, -1):
        total, direct = torch.zeros_like(grads[k]), torch.zeros_like(grads[k])
        for i, listener in enumerate(listeners):
            upstream = credit[k] * listener.acted[k][:, None]
            inputs = Inputs(grad=grads[k], step=steps[k], params=params[k])
            v, u, adjoints[i] = _cell_vjp(listener, k, inputs, upstream, adjoints[i])
            total += v
            direct += u
        credit[k - 1] = weights[k - 1] * grads[k] + credit[k] + hvp(k, total) + direct
    return credit


def _cell_vjp(
    listener: Listener, k: int, inputs: Inputs, upstream: Tensor, adjoint: State | None
) -> tuple[Tensor, Tensor, State]:
    """Cotangents of (g[k], params[k], state[k]) from those of (delta[k], state[k+1])."""
    assert inputs.params is not None
    with torch.enable_grad():
        grad, params = inputs.grad.detach().requires_grad_(), inputs.params.detach().requires_grad_()
        state = {name: value.detach().requires_grad_() for name, value in listener.states[k].items()}
        delta, new_state = listener.rule.update(listener.phi, Inputs(grad, inputs.step, params), state)
        outputs, cotangents = [delta], [upstream]
        for name, value in new_state.items():
            if adjoint is not None and value.requires_grad:
                outputs.append(value)
                cotangents.append(adjoint[name])
        leaves = [grad, params, *state.values()]
        if not delta.requires_grad and len(outputs) == 1:
            grads: Sequence[Tensor | None] = [None] * len(leaves)
        else:
            grads = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True)
    filled = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(grads, leaves, strict=True)]
    return filled[0], filled[1], dict(zip(state, filled[2:], strict=True))
