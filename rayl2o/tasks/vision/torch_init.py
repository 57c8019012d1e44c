"""The initialisation that torch's own modules begin with, for a layout whose tensors are theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator


def torch_rows(
    layout: Layout, seeds: Sequence[int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Tensor:
    """Params ``[K, D]``, row k from ``seeds[k]``: drawn in float64, one tensor after the other, then cast.

    Weights ``[out, in, ...]`` are uniform in +-1/sqrt(fan-in), which is torch's Kaiming-uniform with a = sqrt(5); biases are
    uniform in +-1/sqrt(fan-in) of the weight before them; the scale of a norm is 1 and its shift 0.

    Args:
        layout: Tensors named ``<layer>.weight`` and ``<layer>.bias``, of the kinds weight, bias and norm.
        seeds: One per row.
        device: Of the result; the draws are the CPU's.
        dtype: Of the result. No float64 copy of a whole row is made: a row may have 10^8 coordinates.
    """
    params = torch.empty(len(seeds), layout.size, device=device, dtype=dtype)
    for row, seed in zip(params, seeds, strict=True):
        rng, bound = generator("init", seed), math.nan
        tensors = zip(layout.names, layout.shapes, layout.kinds, row.split(list(layout.sizes)), strict=True)
        for name, shape, kind, values in tensors:
            if kind == "norm":
                values.fill_(1.0 if name.endswith(".weight") else 0.0)
                continue
            if kind == "weight":
                bound = 1 / math.sqrt(math.prod(shape[1:]))
            values.copy_(torch.rand(len(values), generator=rng, dtype=torch.float64).mul_(2 * bound).sub_(bound))
    return params
