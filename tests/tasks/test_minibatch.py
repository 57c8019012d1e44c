from __future__ import annotations

import pytest
import torch

from rayl2o.tasks.minibatch import CHUNK_BYTES, Minibatch, draw_minibatch
from rayl2o.tasks.subset import Subsets

N, B = 50, 8


def draw(seeds: list[int], example_bytes: int = 4) -> Minibatch:
    return draw_minibatch(seeds, N, B, example_bytes)


@pytest.mark.parametrize(
    "seeds",
    [[1], [1, 2, 3], [1, 1], [7, 8, 9] * 4, [7] * 4 + [8] * 4, [7, 7, 8, 7, 8, 8, 7], [1, 1, 2], [4, 5, 4, 4, 4, 4]],
)
def test_each_row_comes_from_its_seed_alone(seeds: list[int]) -> None:
    rows = draw(seeds).rows()
    assert rows.shape == (len(seeds), B)
    assert rows.dtype == torch.int64
    for k, seed in enumerate(seeds):
        assert torch.equal(rows[k : k + 1], draw([seed]).rows())


def test_rows_are_drawn_with_replacement_from_all_examples() -> None:
    rows = draw_minibatch(list(range(200)), N, B, 4).rows()
    assert set(rows.flatten().tolist()) == set(range(N))
    assert any(len(set(row)) < B for row in rows.tolist())


def test_evenly_shared_minibatches_are_drawn_once_and_seen_by_slices() -> None:
    assert [part.members for part in draw([7, 8, 9] * 4).parts] == [slice(i, i + 10, 3) for i in range(3)]
    assert [part.members for part in draw([7] * 4 + [8] * 4).parts] == [slice(0, 4, 1), slice(4, 8, 1)]
    assert all(part.rows.shape == (1, B) for part in draw([7, 8, 9] * 4).parts)


def test_uneven_sharing_falls_back_to_numbers() -> None:
    (first, second) = draw([7, 7, 8, 7, 8, 8]).parts
    assert isinstance(first.members, torch.Tensor)
    assert first.members.tolist() == [0, 1, 3]
    assert isinstance(second.members, torch.Tensor)


def test_little_sharing_is_not_worth_splitting() -> None:
    assert len(draw([1, 1, 2]).parts) == 1


def test_large_inputs_come_in_chunks_that_fit_the_cache() -> None:
    seeds = list(range(7))
    batch = draw(seeds, example_bytes=CHUNK_BYTES // (3 * B))
    assert [part.members for part in batch.parts] == [slice(0, 3), slice(3, 6), slice(6, 9)]
    assert [len(part.rows) for part in batch.parts] == [3, 3, 1]
    assert torch.equal(batch.rows(), draw(seeds).rows())
    assert len(draw(seeds, example_bytes=2 * CHUNK_BYTES).parts) == 7


@pytest.mark.parametrize("owners", [(1, 2, 1, 2), (1, 1, 1, 1), (1, 2, 3, 4)])
def test_subsets_say_which_examples_a_place_stands_for(owners: tuple[int, ...]) -> None:
    rows = {owner: torch.arange(5) * 7 + owner for owner in set(owners)}
    seeds = [3, 3, 3, 9]
    batch = draw_minibatch(seeds, 5, B, 4, subsets=Subsets(owners, rows))
    places = draw_minibatch(seeds, 5, B, 4).rows()
    for k, owner in enumerate(owners):
        assert torch.equal(batch.rows()[k], rows[owner][places[k]])


def test_equal_seeds_share_a_minibatch_only_within_a_subset() -> None:
    rows = {owner: torch.arange(5) + 10 * owner for owner in (1, 2)}
    parts = draw_minibatch([3] * 4, 5, B, 4, subsets=Subsets((1, 1, 2, 2), rows)).parts
    assert [part.members for part in parts] == [slice(0, 2, 1), slice(2, 4, 1)]
