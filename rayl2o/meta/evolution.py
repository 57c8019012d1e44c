"""Evolution strategies: the meta-gradient from losses of perturbed weights, truncated (``es``) and persistent (``pes``).

Vicol, Metz, Sohl-Dickstein 2021, *Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent Evolution
Strategies*. Neither differentiates anything, so the memory does not grow with U and the task's loss may be as rough as it likes.
Both estimate the gradient of the meta-loss smoothed by the perturbation, in antithetic pairs that share task, start and
minibatches. Their cost is one inner step per particle.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from rayl2o.meta.gradient import Gradient
from rayl2o.meta.particles import fly, launch, spread
from rayl2o.meta.perturbation import EvolutionConfig, draw_noise, estimate, perturb
from rayl2o.meta.training import Job
from rayl2o.rules.base import Phi, Rule
from rayl2o.unroll.rollout import provenance, rollout
from rayl2o.unroll.segment import TEACHER
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState

NOISE = "noise"
"""Under this name the rule state of a ``pes`` slot holds ``[K P / 2, N]``, each pair's noise summed over the segments so far."""


def es(rule: Rule, config: UnrollConfig, evolution: EvolutionConfig, phi: Phi, job: Job) -> tuple[Gradient, SlotState]:
    """Truncated antithetic ES (Algorithm 1): all particles start the window where the unperturbed trajectory stands.

    The slot goes on with that trajectory, as with every estimator that is no ``pes``, to the bit. What a perturbation did to the
    window's start is left out: short-horizon bias, none if the window is the whole trajectory.

    Args:
        rule: The student.
        config: Settings of the unroll; credit and sampling are ignored.
        evolution: Of the perturbation.
        phi: The student's weights, dtype ``config.dtype``.
        job: The roll-out.

    Returns:
        The gradient, its tally of the particles (not of the unperturbed trajectory), and the slot's next state.

    Raises:
        UserError: As :func:`rayl2o.unroll.rollout.rollout`.
        ValueError: If the trajectory is a teacher's, which phi does not move.
    """
    _refuse_teacher(job)
    plain = replace(config, credit="first_order", sampling="all")
    segment, after = rollout(rule, plain, job.ticket, job.slot_state, phi, job.version)
    with torch.no_grad():
        done = 0 if job.slot_state is None else job.slot_state.segment
        noise = draw_noise(evolution, job.ticket, done, phi)
        phis = perturb(phi, noise, evolution.sigma)
        if job.slot_state is None:
            begin = launch(rule, config, job.ticket, phis, evolution.particles)
        else:
            begin = spread(job.slot_state, evolution.particles)
        flight = fly(rule, config, job.ticket, begin, phis, evolution.particles, evolution.chunk)
        grads = estimate(phi, noise, flight.losses, evolution.sigma)
    return Gradient(segment.source, grads, float(flight.losses.mean()), flight.tally), after


def pes(rule: Rule, config: UnrollConfig, evolution: EvolutionConfig, phi: Phi, job: Job) -> tuple[Gradient, SlotState]:
    """Persistent ES (Algorithm 2): each particle goes on from where its own perturbations have brought it.

    A window's loss is credited to the sum of the pair's perturbations up to it, which makes the windows' gradients add up to that
    of the whole trajectory without bias, as long as phi is the same in all of them; where it is trained meanwhile, a gradient is
    as stale as the window is far from the start. The variance grows with the number of windows.

    The slot's state has K P rows, one per particle, and the sum of the noise under :data:`NOISE` in its rule state. The noise of
    a window itself is drawn again from its seed, never sent.

    Args, Returns, Raises: As :func:`es`; a particle that diverged in an earlier window is charged in this one.
    """
    _refuse_teacher(job)
    with torch.no_grad():
        done = 0 if job.slot_state is None else job.slot_state.segment
        noise = draw_noise(evolution, job.ticket, done, phi)
        phis = perturb(phi, noise, evolution.sigma)
        if job.slot_state is None:
            begin = launch(rule, config, job.ticket, phis, evolution.particles)
        else:
            own = dict(job.slot_state.rule_state)
            noise = own.pop(NOISE) + noise
            begin = replace(job.slot_state, rule_state=own)
        flight = fly(rule, config, job.ticket, begin, phis, evolution.particles, evolution.chunk)
        grads = estimate(phi, noise, flight.losses, evolution.sigma)
        after = replace(flight.end, rule_state={**flight.end.rule_state, NOISE: noise})
    return Gradient(provenance(job.ticket, begin, job.version), grads, float(flight.losses.mean()), flight.tally), after


def _refuse_teacher(job: Job) -> None:
    if job.ticket.behaviour == TEACHER:
        raise ValueError("a teacher's trajectory is imitated: its losses say nothing of phi")
