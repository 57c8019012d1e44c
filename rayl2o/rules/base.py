"""The protocol of an update rule: hand-made, learned or a formula, all are (init_state, update)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

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
        loss: ``[K, 1]`` or ``[U, 1]``; only if the rule lists it in ``needs``.
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
    ``coord [..., S]``), its ``sequence`` takes any set of N coordinates, and coordinates may be sampled.
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

        Equals stepping through ``update``; differentiable in phi. Only for coordinate-wise rules."""


def step_through(rule: Rule, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
    """``sequence`` by U calls of ``update``: for rules with nothing to fuse, and the oracle for those that have."""
    steps = inputs.step.expand(inputs.grad.shape[0], -1)
    deltas = []
    params = [None] * len(steps) if inputs.params is None else list(inputs.params)
    for grad, step, point in zip(inputs.grad, steps, params, strict=True):
        delta, state = rule.update(phi, Inputs(grad=grad, step=step, params=point), state)
        deltas.append(delta)
    return torch.stack(deltas), state


def zero_state(size: int, layout: Layout, k: int, dtype: torch.dtype, device: torch.device | str) -> State:
    """``{"coord": zeros [K, D, size]}``, the initial state of most coordinate-wise rules."""
    return {"coord": torch.zeros(k, layout.size, size, dtype=dtype, device=device)}
