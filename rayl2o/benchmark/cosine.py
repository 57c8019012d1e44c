"""How well a meta-gradient from some of the coordinates agrees with the whole one."""

from __future__ import annotations

import torch

from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Phi, Rule
from rayl2o.seeds import generator
from rayl2o.unroll.sampling import draw_importance
from rayl2o.unroll.segment import Segment


def cosine(one: Phi, other: Phi) -> float:
    """Over all weights."""
    flat = [torch.cat([grads[name].double().flatten() for name in sorted(grads)]) for grads in (one, other)]
    return float(torch.nn.functional.cosine_similarity(flat[0], flat[1], dim=0))


def redrawn(rule: Rule, phi: Phi, full: Segment, count: int, draw: int) -> Phi:
    """The gradient from ``count`` coordinates of each instance of a segment that has them all, drawn by importance."""
    scores = full.credit.square().sum(1).sqrt()
    rows = [draw_importance(scores[k], count, generator("benchmark", "coords", draw, k)) for k in range(full.k)]
    kept = full.at(torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]))
    return meta_gradient(rule, phi, [kept])[0]
