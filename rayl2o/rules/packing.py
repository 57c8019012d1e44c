"""Coordinate state ``[..., S]`` kept state-major in memory, so that each of its S numbers is one contiguous row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import State


def unpack(coord: Tensor) -> Tensor:
    """Rows ``[S, ...]``, contiguous, of ``coord [..., S]``.

    A state that comes in another memory layout (read from a file, say) is copied, so that the same numbers always meet the
    same kernels and give the same bits.
    """
    return coord.movedim(-1, 0).contiguous()


def pack(rows: Sequence[Tensor] | Tensor) -> Tensor:
    """Inverse of :func:`unpack`: ``coord [..., S]`` from S tensors ``[...]`` or one ``[S, ...]``. A view, not contiguous."""
    stacked = rows if isinstance(rows, Tensor) else torch.stack(list(rows))
    return stacked.movedim(0, -1)


def filled_state(
    values: Sequence[float], layout: Layout, k: int, dtype: torch.dtype, device: torch.device | str
) -> State:
    """``{"coord": [k, D, S]}`` with the s-th number of every coordinate at ``values[s]``."""
    start = torch.tensor(values, dtype=dtype, device=device).view(len(values), 1, 1)
    return {"coord": pack(start.expand(len(values), k, layout.size).contiguous())}
