"""Which coordinates of a segment are kept, and the importance weights that keep every sum unbiased (design.md section 6)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

UNIFORM_SHARE = 0.2  # of an importance draw: keeps every probability, hence every weight, bounded


def importance_probabilities(scores: Tensor) -> Tensor:
    """``[..., D]`` draw probabilities: 80 % proportional to the non-negative scores, 20 % uniform; uniform if all are 0."""
    total = scores.sum(-1, keepdim=True)
    size = scores.shape[-1]
    share = torch.where(total > 0, scores / total.clamp_min(torch.finfo(scores.dtype).tiny), 1.0 / size)
    return (1 - UNIFORM_SHARE) * share + UNIFORM_SHARE / size


def draw_importance(scores: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """C independent draws (with replacement) by :func:`importance_probabilities` of ``scores [D]``.

    Returns:
        Coordinates int32 ``[C]`` and weights ``[C]`` = 1 / (C p).
    """
    probabilities = importance_probabilities(scores)
    coords = torch.multinomial(probabilities, count, replacement=True, generator=generator)
    return coords.int(), 1.0 / (count * probabilities[coords])


def draw_uniform(size: int, count: int, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """C of D coordinates without replacement; every weight is D / C. All of them, in order, if C >= D."""
    if count >= size:
        return torch.arange(size, dtype=torch.int32), torch.ones(size, dtype=dtype)
    coords = torch.randperm(size, generator=generator)[:count].int()
    return coords, torch.full((count,), size / count, dtype=dtype)


@lru_cache(maxsize=64)
def stratified_counts(sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """How many of C draws each tensor gets: at least one (as far as C goes), then in proportion, never above its size."""
    counts = [min(1, size) for size in sizes]
    if sum(counts) > count:
        raise ValueError(
            f"stratified sampling needs at least one draw per tensor, got {count} for {len(sizes)} tensors"
        )
    while sum(counts) < min(count, sum(sizes)):
        # The next draw goes where the sampled fraction is smallest: deterministic largest-remainder filling.
        open_tensors = [i for i, size in enumerate(sizes) if counts[i] < size]
        counts[min(open_tensors, key=lambda i: (counts[i] / sizes[i], i))] += 1
    return tuple(counts)


def draw_stratified(
    sizes: tuple[int, ...], count: int, generator: torch.Generator, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Uniform without replacement inside each tensor, counts by :func:`stratified_counts`; weights n_t / c_t."""
    coords, weights, offset = [], [], 0
    for size, picked in zip(sizes, stratified_counts(sizes, count), strict=True):
        index, weight = draw_uniform(size, picked, generator, dtype)
        coords.append(index + offset)
        weights.append(weight)
        offset += size
    return torch.cat(coords), torch.cat(weights)


def draw(
    scheme: str, scores: Tensor, sizes: tuple[int, ...], count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One row's coordinates int32 ``[C]`` and weights ``[C]`` by scheme; ``scores [D]`` are used by ``importance`` only."""
    size = scores.shape[-1]
    if scheme == "all" or count >= size:
        return torch.arange(size, dtype=torch.int32), torch.ones(size, dtype=scores.dtype)
    if scheme == "importance":
        return draw_importance(scores, count, generator)
    if scheme == "uniform":
        return draw_uniform(size, count, generator, scores.dtype)
    return draw_stratified(sizes, count, generator, scores.dtype)
