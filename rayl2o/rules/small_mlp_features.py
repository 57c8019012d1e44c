"""What the small MLP sees of one tensor: 28 numbers per coordinate, normalised over the tensor, and the moments behind them.

As in ``adafac_mlp_lopt.py`` and ``common.py`` of google/learned_optimization. Everything is a pure function of K instances side
by side, differentiable twice, and finite with finite derivatives at a zero gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout

FEATURES = 28
"""Per coordinate: g, p, 3 momenta m, the mean square v, 3 m / sqrt v, 1 / sqrt v, 3 factored g, 3 row and 3 column means of
squares, 3 + 3 of their reciprocal roots, 3 factored m; in this order."""
COORD_DECAYS = (0.9, 0.99, 0.999, 0.999)
"""Of the moments of each coordinate: three momenta, then the mean square."""
FACTORED_DECAYS = (0.9, 0.99, 0.999)
"""Of the factored mean squares."""
TIMESCALES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
"""Steps over which the embeddings of the step saturate."""


@dataclass(frozen=True)
class Moments:
    """Running means before or after a step.

    Attributes:
        coord: ``[4, K, D]``, one row per decay of ``COORD_DECAYS``.
        factored: ``[3, K, R]``, one row per decay of ``FACTORED_DECAYS``; R counts the rows and columns of all tensors.
    """

    coord: Tensor
    factored: Tensor


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """``(second largest, largest)`` axis of a tensor, where of two equal ones the later counts as larger; None for vectors and
    scalars, which keep a mean square per coordinate."""
    if len(shape) < 2:
        return None
    by_size = sorted(range(len(shape)), key=shape.__getitem__)
    return by_size[-2], by_size[-1]


def factored_sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many row means (over the largest axis) and column means (over the second largest) a tensor has; one number if it
    is not factored."""
    axes = factored_axes(shape)
    size = math.prod(shape)
    return (size,) if axes is None else (size // shape[axes[1]], size // shape[axes[0]])


def factored_counts(layout: Layout) -> list[int]:
    """R of each tensor."""
    return [sum(factored_sizes(shape)) for shape in layout.shapes]


def targets(layout: Layout, grad: Tensor) -> Moments:
    """What the moments are means of, for ``grad [K, D]``: ``coord [4, K, D]``, and ``factored [K, R]`` (for all decays)."""
    square = grad * grad
    parts = torch.split(square + 1e-30, list(layout.sizes), -1)
    means = [
        mean for part, shape in zip(parts, layout.shapes, strict=True) for mean in _row_and_column_means(part, shape)
    ]
    return Moments(torch.stack((grad, grad, grad, square)), means[0] if len(means) == 1 else torch.cat(means, -1))


def advance(moments: Moments, aims: Moments, coord_rates: Tensor, factored_rates: Tensor) -> Moments:
    """The moments after a step.

    Args:
        moments: Before it.
        aims: From :func:`targets`.
        coord_rates, factored_rates: One minus the decays, ``[4, 1, 1]`` and ``[3, 1, 1]``; ``[., K, 1]`` if each instance has its
            own.
    """
    return Moments(
        torch.lerp(moments.coord, aims.coord, coord_rates),
        torch.lerp(moments.factored, aims.factored, factored_rates),
    )


def features(
    shape: tuple[int, ...], grad: Tensor, params: Tensor, coord: Tensor, factored: Tensor
) -> tuple[Tensor, ...]:
    """The 28 features ``[., K, n]`` of a tensor with n coordinates, in pieces, not yet normalised.

    Args:
        shape: Of the tensor.
        grad, params: ``[K, n]``.
        coord: ``[4, K, n]``, the moments after this step.
        factored: ``[3, K, r]``, likewise.
    """
    momenta, square = coord[:3], coord[3:]
    scale = torch.rsqrt(square + 1e-6)
    return grad[None], params[None], coord, momenta * scale, scale, *_factored(shape, grad, momenta, factored)


def inverse_rms(squares: Tensor) -> Tensor:
    """``[..., 1]`` reciprocal roots of the means over the last axis."""
    return torch.rsqrt(row_means(squares) + 1e-5)


def row_means(rows: Tensor) -> Tensor:
    """``[..., 1]`` means over the last axis, as a product, which short rows make the faster way."""
    return rows @ rows.new_full((rows.shape[-1], 1), 1.0 / rows.shape[-1])


def step_embedding(step: Tensor, like: Tensor) -> Tensor:
    """``tanh(step / timescale - 1)``: ``[11, J]`` for a step with J elements, in the dtype and on the device of ``like``."""
    return torch.tanh(step.to(like).reshape(1, -1) / like.new_tensor(TIMESCALES)[:, None] - 1.0)


def _factored(
    shape: tuple[int, ...], grad: Tensor, momenta: Tensor, factored: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Factored g, row means, column means, their reciprocal roots, factored m; ``[3, K, n]`` each."""
    axes = factored_axes(shape)
    if axes is None:
        inverse = torch.rsqrt(factored + 1e-8)
        by_root = grad * torch.rsqrt(factored + 1e-9)
        return by_root, factored, factored, inverse, inverse, momenta * torch.rsqrt(factored + 1e-6)
    smaller, larger = axes
    row, column = torch.split(factored, list(factored_sizes(shape)), -1)
    row = row.reshape(*row.shape[:2], *(1 if axis == larger else size for axis, size in enumerate(shape)))
    column = column.reshape(*column.shape[:2], *(1 if axis == smaller else size for axis, size in enumerate(shape)))
    level = row.mean(smaller - len(shape), keepdim=True)
    factor = (_safe_rsqrt(row / (level + 1e-9)) * _safe_rsqrt(column)).flatten(2)
    spread = (row, column, torch.rsqrt(row + 1e-8), torch.rsqrt(column + 1e-8))
    whole = (*factored.shape[:2], *shape)
    rows, columns, inverse_rows, inverse_columns = (value.expand(whole).flatten(2) for value in spread)
    return grad * factor, rows, columns, inverse_rows, inverse_columns, momenta * factor


def _row_and_column_means(square: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Means over the largest and over the second largest axis of ``[K, n]``, flat; the squares if it is not factored."""
    axes = factored_axes(shape)
    if axes is None:
        return (square,)
    whole = square.reshape(-1, *shape)
    smaller, larger = axes
    return whole.mean(larger - len(shape)).flatten(1), whole.mean(smaller - len(shape)).flatten(1)


def _safe_rsqrt(x: Tensor) -> Tensor:
    return torch.rsqrt(torch.clamp(x, min=1e-9))
