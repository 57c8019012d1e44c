from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.data import SPLITS, load
from rayl2o.tasks.datasets.splits import shuffled_rows
from tests.tasks.datasets.idx_files import write_mnist


@pytest.mark.parametrize(("count", "validation"), [(60_000, 5_000), (55_000, 4_583), (120_000, 5_000), (12, 1)])
def test_the_tf1_split_is_5000_of_60000(count: int, validation: int) -> None:
    assert SPLITS["tf-validation"].range_of("tf-validation", count) == (0, validation)
    assert SPLITS["tf-train"].range_of("tf-train", count) == (validation, count)


def test_a_split_that_would_be_empty_is_refused() -> None:
    with pytest.raises(UserError, match="'tf-validation' of so few examples is empty: got 11"):
        SPLITS["tf-validation"].range_of("tf-validation", 11)
    with pytest.raises(UserError, match="'half-1' of so few examples is empty: got 1"):
        SPLITS["half-1"].range_of("half-1", 1)
    assert SPLITS["half-2"].range_of("half-2", 1) == (0, 1)


def test_the_shuffle_is_pinned() -> None:
    """Figures depend on it; it may depend on the version of no library."""
    assert shuffled_rows(12).tolist() == [3, 5, 11, 0, 9, 8, 7, 6, 10, 1, 2, 4]
    assert sorted(shuffled_rows(1000).tolist()) == list(range(1000))
    with pytest.raises(ValueError, match="read-only"):
        shuffled_rows(12)[0] = 1


def test_halves_share_nothing_and_are_everything() -> None:
    train, one, two = load("digits"), load("digits", "half-1"), load("digits", "half-2")
    assert (len(one.labels), len(two.labels)) == (750, 750)
    both = torch.cat([one.inputs, two.inputs])
    assert torch.equal(both, train.inputs[torch.tensor(shuffled_rows(1500))])
    assert torch.equal(torch.cat([one.labels, two.labels]), train.labels[torch.tensor(shuffled_rows(1500))])
    assert min(one.labels.bincount().min(), two.labels.bincount().min()) > 55  # of 75 on the average


def test_splits_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, count=25)
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    train = load("mnist")
    assert torch.equal(load("mnist", "tf-validation").inputs, train.inputs[:2])
    assert torch.equal(load("mnist", "tf-train").labels, train.labels[2:])
    halves = [load("mnist", half) for half in ("half-1", "half-2")]
    assert [len(half.labels) for half in halves] == [12, 13]
    rows = torch.tensor(shuffled_rows(25))
    assert torch.equal(torch.cat([half.inputs for half in halves]), train.inputs[rows])


def test_every_split_says_what_it_is() -> None:
    page = Path(__file__).parents[3] / "docs" / "data.md"
    text = page.read_text(encoding="utf-8")
    assert all(split.summary and f"`{name}`" in text for name, split in SPLITS.items())
