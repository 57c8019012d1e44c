"""Sampled coordinates: unbiased by enumerating every draw, not by averaging many."""

from __future__ import annotations

import itertools

import pytest
import torch

from rayl2o.seeds import generator
from rayl2o.unroll.sampling import (
    UNIFORM_SHARE,
    draw,
    draw_importance,
    draw_stratified,
    draw_uniform,
    importance_probabilities,
    stratified_counts,
)

VALUES = torch.tensor([3.0, -1.0, 0.5, 7.0, 0.0], dtype=torch.float64)
SCORES = torch.tensor([0.0, 2.0, 1.0, 5.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("scores", [SCORES, torch.zeros(5, dtype=torch.float64)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_importance_is_unbiased_by_enumeration(scores: torch.Tensor, count: int) -> None:
    p = importance_probabilities(scores)
    assert float(p.sum()) == pytest.approx(1.0)
    assert float(p.min()) >= UNIFORM_SHARE / len(scores) - 1e-12
    expectation = 0.0
    for picked in itertools.product(range(len(scores)), repeat=count):
        index = torch.tensor(picked)
        weight = 1.0 / (count * p[index])
        expectation += float(p[index].prod() * (weight * VALUES[index]).sum())
    assert expectation == pytest.approx(float(VALUES.sum()), rel=1e-12)


def test_importance_draw_uses_those_weights() -> None:
    coords, weights = draw_importance(SCORES, 4, generator(0))
    torch.testing.assert_close(weights, 1.0 / (4 * importance_probabilities(SCORES)[coords.long()]))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_uniform_is_unbiased_by_enumeration(count: int) -> None:
    size = len(VALUES)
    coords, weights = draw_uniform(size, count, generator(1), torch.float64)
    assert len(set(coords.tolist())) == len(coords) == min(count, size)
    subsets = list(itertools.combinations(range(size), len(coords)))
    mean = sum(float((weights * VALUES[list(subset)]).sum()) for subset in subsets) / len(subsets)
    assert mean == pytest.approx(float(VALUES.sum()), rel=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_stratified_is_unbiased_by_enumeration(count: int) -> None:
    sizes = (2, 3)
    counts = stratified_counts(sizes, count)
    assert sum(counts) == count
    assert min(counts) >= 1
    coords, weights = draw_stratified(sizes, count, generator(2), torch.float64)
    split = counts[0]
    assert bool((coords[:split] < 2).all())
    assert bool((coords[split:] >= 2).all())
    picks = itertools.product(
        itertools.combinations(range(2), counts[0]), itertools.combinations(range(2, 5), counts[1])
    )
    total = [float((weights * VALUES[[*first, *second]]).sum()) for first, second in picks]
    assert sum(total) / len(total) == pytest.approx(float(VALUES.sum()), rel=1e-12)


def test_stratified_needs_a_draw_per_tensor() -> None:
    with pytest.raises(ValueError, match="at least one draw per tensor"):
        stratified_counts((4, 4, 4), 2)


@pytest.mark.parametrize("scheme", ["all", "importance", "uniform", "stratified"])
def test_enough_draws_keep_everything(scheme: str) -> None:
    coords, weights = draw(scheme, SCORES, (2, 3), 5, generator(3))
    assert coords.tolist() == [0, 1, 2, 3, 4]
    assert weights.tolist() == [1.0] * 5


@pytest.mark.parametrize("scheme", ["importance", "uniform", "stratified"])
def test_same_seed_same_draw(scheme: str) -> None:
    first, second = (draw(scheme, SCORES, (2, 3), 3, generator(4)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], draw(scheme, SCORES, (2, 3), 3, generator(9))[0])
