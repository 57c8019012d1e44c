from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.subset import draw_subsets


def test_a_subset_is_its_seeds_alone_and_has_no_repetition() -> None:
    found = draw_subsets([5, 6, 5], 100, 30, "x.examples")
    assert found.seeds == (5, 6, 5)
    assert set(found.rows) == {5, 6}
    for rows in found.rows.values():
        assert (rows.dtype, rows.shape) == (torch.int64, (30,))
        assert len(set(rows.tolist())) == 30
        assert rows.min() >= 0
        assert rows.max() < 100
    assert not torch.equal(found.rows[5], found.rows[6])
    assert torch.equal(draw_subsets([5], 100, 30, "").rows[5], found.rows[5])
    assert sorted(draw_subsets([1], 9, 9, "").rows[1].tolist()) == list(range(9))


def test_every_example_is_as_likely() -> None:
    rows = draw_subsets(range(400), 20, 5, "").rows.values()
    counts = torch.cat(list(rows)).bincount(minlength=20)
    assert (counts - 100).abs().max() < 5 * (400 * 0.25 * 0.75) ** 0.5


def test_a_subset_holds_its_own_rows_only() -> None:
    """Not a view of a permutation of everything."""
    rows = draw_subsets([1], 10_000, 10, "").rows[1]
    assert rows.untyped_storage().nbytes() == 80


def test_more_examples_than_there_are() -> None:
    with pytest.raises(UserError, match=r"setting mlp\.examples is out of range: got 11; use 1\.\.10, or 0 for all"):
        draw_subsets([1], 10, 11, "mlp.examples")
