"""The initialisation that ``jax.example_libraries.stax`` gives dense layers, which paper R's code leaves as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator

_BIAS_STD = 0.01
_CUT = 2.0  # weights beyond so many standard deviations are not drawn
_CUT_STD = 0.87962566103423978  # of a standard normal cut there


def glorot_rows(layout: Layout, seeds: Sequence[int]) -> Tensor:
    """Params ``[K, D]``, float64, row k from ``seeds[k]``: the same start whatever dtype it is then cast to.

    Weights have standard deviation sqrt(2 / (fan-in + fan-out)), drawn from a normal cut at two standard deviations; biases are
    N(0, 0.01^2). (stax: ``Dense(W_init=glorot_normal(), b_init=normal())``.)

    Args:
        layout: Weights ``[in, out]`` and biases.
        seeds: One per row.
    """
    rows = {seed: _row(layout, seed) for seed in dict.fromkeys(seeds)}
    return torch.stack([rows[seed] for seed in seeds])


def _row(layout: Layout, seed: int) -> Tensor:
    """float64 ``[D]``."""
    rng = generator("init", seed)
    return torch.cat([_values(shape, kind, rng) for shape, kind in zip(layout.shapes, layout.kinds, strict=True)])


def _values(shape: tuple[int, ...], kind: str, rng: torch.Generator) -> Tensor:
    """Values of one tensor, flat, float64."""
    if kind == "bias":
        return _BIAS_STD * torch.randn(math.prod(shape), generator=rng, dtype=torch.float64)
    std = math.sqrt(2 / sum(shape))
    inside = math.erf(_CUT / math.sqrt(2))  # share of a normal within the cut, whose inverse this draws from
    uniform = torch.rand(math.prod(shape), generator=rng, dtype=torch.float64)
    return (std / _CUT_STD * math.sqrt(2)) * torch.erfinv((2 * uniform - 1) * inside)
