"""What a phi is worth, as plain numbers: its losses in an evaluation, and the cosine of its meta-gradients to the exact one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rayl2o.config import RunConfig
from rayl2o.evaluate.runner import Curves, log_loss, marks, mean_loss, run
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Phi, Rule
from rayl2o.seeds import generator
from rayl2o.study.definition import Evaluation, Probe
from rayl2o.tasks.draw import sample_alike
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import OK
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

EXACT = "exact"
DIGITS = 6
"""Significant digits that are kept."""
_PROBE_SEED = 77
"""``run_seed`` of the probe's trajectories: the same for every arm and meta-seed."""


def scores(
    rule: Rule, phi: Mapping[str, Tensor], evaluation: Evaluation, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """One number per evaluation seed: mean loss over the horizon, log-loss at each mark, whether it diverged."""
    family = evaluation.make_family()
    curves = run(rule, phi, family, evaluation.eval_seeds, evaluation.steps, dtype=dtype)
    return plain_scores(curves)


def plain_scores(curves: Curves) -> dict[str, Any]:
    """:func:`scores` of curves that were run elsewhere."""
    return {
        "mean_loss": rounded(mean_loss(curves)),
        "log_loss": {str(mark): rounded(log_loss(curves, mark)) for mark in marks(curves.loss.shape[1])},
        "diverged": [status != OK for status in curves.status],
    }


def rounded(values: ArrayLike) -> list[float]:
    """Numbers with 6 significant digits."""
    return [float(f"{value:.{DIGITS}g}") for value in torch.as_tensor(values).tolist()]


def cosines(config: RunConfig, phi: Phi, probe: Probe) -> dict[str, dict[str, list[float]]]:
    """Cosine of a plain window's meta-gradient to that of exact credit: credit to the step at which the window begins to one
    number per window. All coordinates, weights 1, no discount; the same windows for every arm on a task.

    A gradient that is 0 has cosine 0.
    """
    rule = config.make_rule()
    found: dict[str, dict[str, list[float]]] = {credit: {} for credit in probe.credits}
    for at in probe.at:
        stands = [_stand(rule, config, phi, at, window) for window in range(probe.windows)]
        exact = [_gradient(rule, config, phi, EXACT, *stand) for stand in stands]
        for credit in probe.credits:
            grads = [_gradient(rule, config, phi, credit, *stand) for stand in stands]
            found[credit][str(at)] = rounded([_cosine(g, e) for g, e in zip(grads, exact, strict=True)])
    return found


def _stand(rule: Rule, config: RunConfig, phi: Phi, at: int, window: int) -> tuple[Ticket, SlotState | None]:
    """A trajectory that stands where a window begins."""
    specs = sample_alike(config.make_family(), generator("study", "probe", window), config.instances)
    ticket = Ticket("probe", _PROBE_SEED, window, 0, specs, max(1, at) + config.unroll.steps)
    state: SlotState | None = None
    for _ in range(at // config.unroll.steps):
        _, state = rollout(rule, _plain(config, "first_order"), ticket, state, phi)
    return ticket, state


def _plain(config: RunConfig, credit: str) -> UnrollConfig:
    return UnrollConfig(
        steps=config.unroll.steps,
        credit=credit,
        dtype=config.unroll.dtype,
        loss_cap=config.unroll.loss_cap,
        history_bytes=config.unroll.history_bytes,
    )


def _gradient(rule: Rule, config: RunConfig, phi: Phi, credit: str, ticket: Ticket, state: SlotState | None) -> Phi:
    segment, _ = rollout(rule, _plain(config, credit), ticket, state, phi)
    return meta_gradient(rule, phi, [segment])[0]


def _cosine(one: Phi, other: Phi) -> float:
    flat = [torch.cat([grads[name].double().flatten() for name in sorted(grads)]) for grads in (one, other)]
    return float(torch.nn.functional.cosine_similarity(flat[0], flat[1], dim=0))
