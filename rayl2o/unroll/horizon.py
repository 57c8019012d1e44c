"""Credit from beyond the segment: segments wait in the slot's state and take the gradients of later windows on the way.

The rows are those of the window; only their credit looks further ahead. Every job hands over one segment: the first of a
trajectory runs 1 + W windows (W = ``UnrollConfig.waiting``), the last ones run none. What is credited W windows later was made
with phi of W updates ago, and so was the state that the learner starts from.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rayl2o.unroll.segment import Segment
from rayl2o.unroll.settings import UnrollConfig


def credited(config: UnrollConfig, pending: tuple[Segment, ...], direct: Tensor, begin: int) -> tuple[Segment, ...]:
    """The waiting segments, credited with a later window as far as their horizon reaches.

    Args:
        config: ``credit_horizon`` and ``discount`` count.
        pending: Segments of earlier windows, with all coordinates in order.
        direct: ``[U, K, D]`` gradients of the meta-loss at params[1..U] of the window.
        begin: Inner step at which it begins.
    """
    if not config.credit_horizon:
        return pending
    powers = config.discount ** torch.arange(config.steps, dtype=direct.dtype, device=direct.device)
    later = (direct * powers[:, None, None]).sum(0)
    return tuple(_credited(config, segment, later, begin) for segment in pending)


def _credited(config: UnrollConfig, segment: Segment, later: Tensor, begin: int) -> Segment:
    """``later [K, D]`` is the window's return as seen from the step before it."""
    past = begin - (segment.source.start_step + config.steps)
    if past >= config.credit_horizon:
        return segment
    ahead = torch.arange(config.steps + past, past, -1, dtype=later.dtype, device=later.device)
    rows = torch.arange(config.steps, device=later.device)[None] < segment.valid.to(later.device)[:, None]
    factors = torch.where(rows, config.discount**ahead, 0.0)
    return replace(segment, credit=segment.credit + factors[..., None] * later[:, None])
