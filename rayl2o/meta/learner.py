"""The learner as a pure function: ``(state, segments) -> (state, metrics)``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rayl2o.meta.gradient import Gradient, combine
from rayl2o.meta.losses import imitation_loss, rtg_loss
from rayl2o.meta.optimizer import MetaOptimizerConfig, apply_gradient
from rayl2o.rules.base import Phi, Rule
from rayl2o.unroll.segment import TEACHER, Segment

Loss = Callable[[Rule, Mapping[str, Tensor], Sequence[Segment]], Tensor]


@dataclass(frozen=True)
class LearnerConfig:
    """How phi is changed.

    Attributes:
        rtg: Meta-optimizer of the task loss.
        imitation: Meta-optimizer of the imitation loss; its state is separate (paper-facts 2.3: the two losses differ by orders
            of magnitude, and Adam's normalisation must not mix them).
        rollback_after: After so many non-finite gradients in a row phi returns to the anchor.
        anchor_every: Every so many good updates phi becomes the anchor.
    """

    rtg: MetaOptimizerConfig = field(default_factory=MetaOptimizerConfig)
    imitation: MetaOptimizerConfig = field(default_factory=MetaOptimizerConfig)
    rollback_after: int = 3
    anchor_every: int = 50


@dataclass(frozen=True)
class LearnerState:
    """Everything that learning changes.

    Attributes:
        phi: Weights of the rule.
        optimizers: State of the meta-optimizers, ``rtg`` and ``imitation``.
        anchor: Phi to return to.
        updates: Updates made. skipped: updates skipped for a non-finite gradient. in_a_row: skipped since the last good one.
        rollbacks: Times that phi returned to the anchor.
    """

    phi: Phi
    optimizers: dict[str, dict[str, Tensor]]
    anchor: Phi
    updates: int = 0
    skipped: int = 0
    in_a_row: int = 0
    rollbacks: int = 0


def fresh_learner(phi: Phi) -> LearnerState:
    """The state before the first update."""
    return LearnerState(phi=phi, optimizers={"rtg": {}, "imitation": {}}, anchor=phi)


def learner_step(
    rule: Rule, config: LearnerConfig, state: LearnerState, segments: Sequence[Segment]
) -> tuple[LearnerState, dict[str, float]]:
    """The updates of one round: first by returns-to-go, then by imitation (design.md section 7).

    Returns:
        The new state and metrics: ``grad_norm`` and ``imitation_loss`` where there was such an update.
    """
    metrics: dict[str, float] = {}
    own = [s for s in segments if s.source.behaviour != TEACHER]
    taught = [s for s in segments if s.source.behaviour == TEACHER]
    if own:
        grads, value = meta_gradient(rule, state.phi, own, rtg_loss)
        state, metrics["grad_norm"] = _update(config, state, "rtg", grads, float(value))
    if taught:
        grads, value = meta_gradient(rule, state.phi, taught, imitation_loss)
        state, _ = _update(config, state, "imitation", grads, float(value))
        metrics["imitation_loss"] = float(value)
    return state, metrics


def gradient_step(
    config: LearnerConfig, state: LearnerState, gradients: Sequence[Gradient]
) -> tuple[LearnerState, dict[str, float]]:
    """The updates of one round from gradients that were made elsewhere; otherwise as :func:`learner_step`."""
    metrics: dict[str, float] = {}
    own = [g for g in gradients if g.source.behaviour != TEACHER]
    taught = [g for g in gradients if g.source.behaviour == TEACHER]
    if own:
        grads, value = combine(own)
        state, metrics["grad_norm"] = _update(config, state, "rtg", grads, value)
    if taught:
        grads, metrics["imitation_loss"] = combine(taught)
        state, _ = _update(config, state, "imitation", grads, metrics["imitation_loss"])
    return state, metrics


def meta_gradient(rule: Rule, phi: Phi, segments: Sequence[Segment], loss: Loss = rtg_loss) -> tuple[Phi, Tensor]:
    """The gradient of a loss over segments in phi, by name, and the loss."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in phi.items()}
    with torch.enable_grad():
        value = loss(rule, leaves, segments)
        grads = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    filled = (torch.zeros_like(p) if g is None else g for g, p in zip(grads, leaves.values(), strict=True))
    return dict(zip(leaves, filled, strict=True)), value.detach()


def _update(
    config: LearnerConfig, state: LearnerState, name: str, grads: Phi, value: float
) -> tuple[LearnerState, float]:
    """One step of the named meta-optimizer, or a skip; and the gradient's norm."""
    norm = float(torch.stack([grads[name].square().sum() for name in sorted(grads)]).sum().sqrt())
    if not (math.isfinite(norm) and math.isfinite(value)):
        return _skip(config, state), norm
    optimizer = config.rtg if name == "rtg" else config.imitation
    phi, slots = apply_gradient(optimizer, state.phi, grads, state.optimizers[name])
    updates = state.updates + 1
    return (
        replace(
            state,
            phi=phi,
            optimizers={**state.optimizers, name: slots},
            anchor=phi if updates % config.anchor_every == 0 else state.anchor,
            updates=updates,
            in_a_row=0,
        ),
        norm,
    )


def _skip(config: LearnerConfig, state: LearnerState) -> LearnerState:
    state = replace(state, skipped=state.skipped + 1, in_a_row=state.in_a_row + 1)
    if state.in_a_row < config.rollback_after:
        return state
    # Moments made on the way to a broken phi would push it there again.
    fresh: dict[str, dict[str, Tensor]] = {name: {} for name in state.optimizers}
    return replace(state, phi=state.anchor, optimizers=fresh, in_a_row=0, rollbacks=state.rollbacks + 1)
