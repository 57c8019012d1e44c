"""Estimators of the meta-gradient: what a job hands to the learner, a segment or a gradient. One table of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rayl2o.meta.bptt import bptt
from rayl2o.meta.evolution import es, pes
from rayl2o.meta.gradient import Contribution, Gradient, tally
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.losses import imitation_loss, rtg_loss
from rayl2o.meta.perturbation import EvolutionConfig
from rayl2o.meta.training import Job, TrainConfig
from rayl2o.rules.base import Phi, Rule
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import TEACHER, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState

Estimator = Callable[[Rule, TrainConfig, Phi, Job], tuple[Contribution, SlotState]]
"""Pure: the contribution of a job and its slot's next state, determined by the arguments."""


def perform(rule: Rule, config: TrainConfig, phi: Phi, job: Job) -> tuple[Contribution, SlotState]:
    """One job, anywhere, by ``config.estimator``.

    Raises:
        UserError: As :func:`rayl2o.unroll.rollout.rollout`.
    """
    return TABLE[config.estimator](rule, config, phi, job)


def rtg(rule: Rule, config: TrainConfig, phi: Phi, job: Job) -> tuple[Segment, SlotState]:
    """The segment itself; the learner differentiates the rule, with its newest phi."""
    return _rollout(rule, config.unroll, phi, job)


def rtg_worker(rule: Rule, config: TrainConfig, phi: Phi, job: Job) -> tuple[Gradient, SlotState]:
    """The gradient that the learner would make of the segment alone, made where the segment is, with the phi that acted.

    For tasks so large that a segment should not leave its process. Equal to ``rtg`` up to rounding if ``lag`` is 0, but for
    imitation in a round that also has trajectories of the student: there ``rtg`` imitates with the phi after its first update.
    """
    segment, after = _rollout(rule, config.unroll, phi, job)
    return _of_segment(rule, phi, segment), after


def back_propagation(rule: Rule, config: TrainConfig, phi: Phi, job: Job) -> tuple[Gradient, SlotState]:
    """The gradient by autograd through the window, all coordinates; second order if ``unroll.credit`` is ``exact``.

    The slot goes on from the same trajectory as the other estimators' does. A teacher's trajectory is imitated, as there. Of an
    instance that diverges inside the window the gradient may not be finite: the learner skips and counts such an update.
    """
    # The roll-out gives the slot's next state and the tally; its credit is not used.
    segment, after = _rollout(rule, replace(config.unroll, credit="first_order"), phi, job)
    if job.ticket.behaviour == TEACHER:
        return _of_segment(rule, phi, segment), after
    second_order = config.unroll.credit == "exact"
    grads, objective = bptt(rule, config.unroll, job.ticket, job.slot_state, phi, second_order)
    return Gradient(segment.source, grads, float(objective), tally(segment)), after


Evolution = Callable[[Rule, UnrollConfig, EvolutionConfig, Phi, Job], tuple[Gradient, SlotState]]


def evolve(estimate: Evolution, rule: Rule, config: TrainConfig, phi: Phi, job: Job) -> tuple[Gradient, SlotState]:
    """The gradient by an evolution strategy; a teacher's trajectory is imitated, as with the other estimators."""
    if job.ticket.behaviour == TEACHER:
        segment, after = _rollout(rule, replace(config.unroll, credit="first_order"), phi, job)
        return _of_segment(rule, phi, segment), after
    return estimate(rule, config.unroll, config.evolution, phi, job)


TABLE: dict[str, Estimator] = {
    "rtg": rtg,
    "rtg_worker": rtg_worker,
    "bptt": back_propagation,
    "es": partial(evolve, es),
    "pes": partial(evolve, pes),
}
"""By the names that :class:`rayl2o.meta.training.TrainConfig` takes."""


def _rollout(rule: Rule, unroll: UnrollConfig, phi: Phi, job: Job) -> tuple[Segment, SlotState]:
    return rollout(rule, unroll, job.ticket, job.slot_state, phi, job.version)


def _of_segment(rule: Rule, phi: Phi, segment: Segment) -> Gradient:
    loss = imitation_loss if segment.source.behaviour == TEACHER else rtg_loss
    grads, objective = meta_gradient(rule, phi, [segment], loss)
    return Gradient(segment.source, grads, float(objective), tally(segment))
