"""Where params start when every tensor has a law of its own: normal about 0, or a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator


@dataclass(frozen=True)
class Start:
    """How the coordinates of one tensor start.

    Attributes:
        std: N(0, std^2) if above 0, else all are ``value``.
        value: The constant.
    """

    std: float = 0.0
    value: float = 0.0


def start_rows(
    seeds: Sequence[int],
    layout: Layout,
    starts: Sequence[Start],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Fresh params ``[K, D]``, row k from ``seeds[k]``: drawn in float64, one tensor after the other, then cast.

    Args:
        seeds: One per instance.
        layout: D coordinates in T tensors.
        starts: One per tensor.
        device: Of the result; the draws are the CPU's.
        dtype: Of the result. No float64 copy of a whole row is made: a row may have 10^8 coordinates.
    """
    params = torch.empty(len(seeds), layout.size, device=device, dtype=dtype)
    for row, seed in zip(params, seeds, strict=True):
        rng = generator("init", seed)
        for part, start in zip(row.split(list(layout.sizes)), starts, strict=True):
            if start.std > 0:
                part.copy_(torch.randn(len(part), generator=rng, dtype=torch.float64).mul_(start.std))
            else:
                part.fill_(start.value)
    return params
