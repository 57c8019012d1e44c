"""The learner as a pure function: ``(state, segments) -> (state, metrics)``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.average import Average, averaged
from rayl2o.meta.gradient import Gradient, combine
from rayl2o.meta.losses import imitation_loss, rtg_loss
from rayl2o.meta.optimizer import MetaOptimizerConfig, apply_gradient, forget_moments, grad_norm, zero_nonfinite
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
        ema: Decay of an exponential moving average of phi over updates of any kind, without the bias of its start; 0 for none.
            The average is then what is validated, restored and shipped (:func:`candidate`); phi itself acts and learns. Not in
            the papers; .99 is usual.
    """

    rtg: MetaOptimizerConfig = field(default_factory=MetaOptimizerConfig)
    imitation: MetaOptimizerConfig = field(default_factory=MetaOptimizerConfig)
    rollback_after: int = 3
    anchor_every: int = 50
    ema: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rollback_after", "anchor_every"):
            if getattr(self, name) < 1:
                raise UserError(f"learner.{name} must be at least 1", value=getattr(self, name), mend="leave it out")
        if not 0 <= self.ema < 1:
            raise UserError("learner.ema must be in [0, 1)", value=self.ema, mend="0 turns it off, .99 is usual")


@dataclass(frozen=True)
class LearnerState:
    """Everything that learning changes.

    Attributes:
        phi: Weights of the rule.
        optimizers: State of the meta-optimizers, ``rtg`` and ``imitation``.
        anchor: Phi to return to.
        updates: Updates made. skipped: updates skipped for a non-finite gradient. in_a_row: skipped since the last good one.
        rollbacks: Times that phi returned to the anchor.
        zeroed: Updates made although some entries of their gradient were not finite, these set to 0.
        average: Of phi, with ``ema``; no updates in it after a rollback or a curriculum's return to its best phi.
    """

    phi: Phi
    optimizers: dict[str, dict[str, Tensor]]
    anchor: Phi
    updates: int = 0
    skipped: int = 0
    in_a_row: int = 0
    rollbacks: int = 0
    zeroed: int = 0
    average: Average = field(default_factory=Average)


def fresh_learner(phi: Phi) -> LearnerState:
    """The state before the first update."""
    return LearnerState(phi=phi, optimizers={"rtg": {}, "imitation": {}}, anchor=phi)


def candidate(state: LearnerState) -> Phi:
    """The phi to validate and to ship: the average where there is one, else the newest."""
    return state.average.phi or state.phi


def restarted(state: LearnerState, phi: Phi) -> LearnerState:
    """The learner put back to that phi, which becomes the anchor; the average begins anew, the optimizers keep their moments."""
    return replace(state, phi=phi, anchor=phi, average=Average())


def learner_step(
    rule: Rule, config: LearnerConfig, state: LearnerState, segments: Sequence[Segment]
) -> tuple[LearnerState, dict[str, float]]:
    """The updates of one round: first by returns-to-go, then by imitation (design.md section 7).

    Returns:
        The new state and metrics: ``grad_norm`` (before penalty and clips) and ``imitation_loss`` where there was such an update,
        ``zeroed`` (updates so far) once there was one.
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
    return state, metrics | _zeroed(state)


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
    return state, metrics | _zeroed(state)


def _zeroed(state: LearnerState) -> dict[str, float]:
    return {"zeroed": float(state.zeroed)} if state.zeroed else {}


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
    optimizer = config.rtg if name == "rtg" else config.imitation
    bad = 0
    if optimizer.nonfinite == "zero":
        grads, bad, entries = zero_nonfinite(grads)
        norm = float(grad_norm(grads))
        sound = bad < entries
    else:
        norm = float(grad_norm(grads))
        sound = math.isfinite(norm) and math.isfinite(value)
    if not sound:
        return _skip(config, state), norm
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
            zeroed=state.zeroed + (bad > 0),
            average=averaged(config.ema, state.average, phi),
        ),
        norm,
    )


def _skip(config: LearnerConfig, state: LearnerState) -> LearnerState:
    state = replace(state, skipped=state.skipped + 1, in_a_row=state.in_a_row + 1)
    if state.in_a_row < config.rollback_after:
        return state
    # Moments made on the way to a broken phi would push it there again, and so would an average over that way.
    fresh = {name: forget_moments(slots) for name, slots in state.optimizers.items()}
    rolled = replace(restarted(state, state.anchor), optimizers=fresh, in_a_row=0)
    return replace(rolled, rollbacks=state.rollbacks + 1)
