"""The protocol of an update rule: hand-made, learned or a formula, all are (init_state, update)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from rayl2o.layout import Layout

Phi = dict[str, Tensor]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Inputs:
    """What a rule may see at a step; everything is detached by the caller.

    Attributes:
        grad: Gradient, ``[K, D]`` in ``update`` and ``[U, N]`` in ``sequence``.
        step: Number of updates made before this one (0 at the first), as a tensor that broadcasts against ``grad``: 0-dim in
            ``update``; ``[U, 1]`` or ``[U, N]`` in ``sequence``, where columns may come from different windows.
        params: Like ``grad``; only if the rule lists it in ``needs``.
        loss: ``[K, 1]`` in ``update``; only if the rule lists it in ``needs``.
        layout: Only if the rule lists it in ``needs``.
    """

    grad: Tensor
    step: Tensor
    params: Tensor | None = None
    loss: Tensor | None = None
    layout: Layout | None = None


class Rule(Protocol):
    """A frozen dataclass without hidden state. ``params[t+1] = params[t] + delta``: the sign lives in the rule.

    State has three levels: ``{"coord": [K, D, S], "tensor": [K, T, S2], "global": [K, S3]}``. ``coord`` is always present (S may
    be 0); the others only if the rule uses them. State is passed in and handed back, never mutated.

    A *coordinate-wise* rule treats each coordinate alone. Its ``update`` accepts any leading shape (``grad [...]``,
    ``coord [..., S]``), its ``sequence`` takes any set of N coordinates, and coordinates may be sampled. It needs no loss.

    Any other rule needs whole tensors: it lists ``layout`` in ``needs``, coordinates are never sampled, and its ``sequence``
    takes ``grad`` and ``params [U, K, D]``, ``step [U, 1, 1]`` or ``[U, K, 1]``, ``loss [U, K, 1]``, and the state of ``update``.
    """

    kind: ClassVar[str]
    """Registered name, such as ``adam`` or ``rnnprop``."""

    @property
    def needs(self) -> frozenset[str]:
        """Which optional fields of :class:`Inputs` it reads: a subset of {params, loss, layout}."""

    @property
    def coordinatewise(self) -> bool:
        """Whether it treats each coordinate alone."""

    @property
    def state_size(self) -> int:
        """S, the floats of state per coordinate."""

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights by name; ``{}`` for a classic rule."""

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """State before the first step of K instances."""

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step: ``delta [K, D]`` and the new state. Plain cell arithmetic: differentiable in phi, grad and state, works under
        ``torch.func.vmap`` over a leading axis of phi. A zero gradient gives a finite update with finite derivatives."""

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates at once: ``grad [U, N]``, ``coord [N, S]`` to ``deltas [U, N]`` and the last state.

        Equals stepping through ``update``; differentiable in phi. The shapes of a rule that needs whole tensors are above."""


@runtime_checkable
class UpdatesEach(Protocol):
    """A rule with a faster way than ``vmap`` to run instances that each have weights of their own."""

    def update_each(self, phis: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """``update`` of K instances by ``phis [K, ...]``."""


def seen_by(rule: Rule, grad: Tensor, step: Tensor, params: Tensor, loss: Tensor, layout: Layout) -> Inputs:
    """What a rule sees at a step, and nothing that it does not need.

    Args:
        rule: Whose inputs.
        grad, params: ``[K, D]``.
        step: Updates made before, 0-dim.
        loss: ``[K]`` at ``params``.
        layout: Of the D coordinates.
    """
    return Inputs(
        grad=grad,
        step=step,
        params=params if "params" in rule.needs else None,
        loss=loss[..., None] if "loss" in rule.needs else None,
        layout=layout if "layout" in rule.needs else None,
    )


def step_through(rule: Rule, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
    """``sequence`` by U calls of ``update``: for rules with nothing to fuse, and the oracle for those that have."""
    count = inputs.grad.shape[0]
    steps = inputs.step.expand(count, *inputs.step.shape[1:])
    points = [None] * count if inputs.params is None else list(inputs.params)
    losses = [None] * count if inputs.loss is None else list(inputs.loss)
    deltas = []
    for grad, step, point, loss in zip(inputs.grad, steps, points, losses, strict=True):
        delta, state = rule.update(phi, Inputs(grad, step, point, loss, inputs.layout), state)
        deltas.append(delta)
    return torch.stack(deltas), state


def zero_state(size: int, layout: Layout, k: int, dtype: torch.dtype, device: torch.device | str) -> State:
    """``{"coord": zeros [K, D, size]}``, the initial state of most coordinate-wise rules."""
    return {"coord": torch.zeros(k, layout.size, size, dtype=dtype, device=device)}
