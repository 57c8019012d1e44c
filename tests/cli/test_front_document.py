from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayl2o.cli.front_document import FrontDocument, columns_of, front_document, listed, read_front
from rayl2o.errors import UserError
from rayl2o.symbolic.front import Front
from tests.cli.fronts import document, front


def _read(made: dict[str, Any]) -> FrontDocument:
    return front_document(json.loads(json.dumps(made, allow_nan=False)))


def test_everything_is_read_back() -> None:
    found = _read(document())
    assert found.front == front()
    assert [entry.index for entry in found.entries] == [0, 1, 2, 3, 4]
    assert [entry.selected for entry in found.entries] == [False, True, False, False, False]
    network, distilled, gained = found.columns
    assert (network.name, network.mean_loss, network.held_out, network.losses) == ("network", 0.2, 0.3, (0.1, 0.3))
    assert (distilled.r2, distilled.buffers, len(distilled.trail)) == (0.85, 3, 3)
    assert (gained.held_out_diverged, gained.trail) == (1, ())
    assert (found.network.loss, found.network.tpf) == (0.2, {"m_tilde": 4.0})
    assert len(found.pictures.curves) == 1


def test_an_older_file_has_less() -> None:
    found = _read(document(old=True))
    assert [c.r2 for c in found.front.candidates] == [0.7, 0.8, 0.9, 0.95]
    assert all(column.held_out is None and column.trail == () for column in found.columns)
    assert found.pictures.curves == ()
    assert dict(found.card) == {}


def test_a_bare_front_as_the_demo_writes_it(tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text(json.dumps(front().to_json()))
    found = read_front(tmp_path)
    assert (found.front, found.selected, found.columns) == (front(), None, ())


@pytest.mark.parametrize(
    ("sort", "order"),
    [("nodes", [0, 1, 2, 3]), ("r2", [3, 2, 1, 0]), ("loss", [1, 0, 3, 2]), ("buffers", [0, 2, 3, 1])],
)
def test_orders(sort: str, order: list[int]) -> None:
    found = FrontDocument(front())
    assert [entry.index for entry in listed(found, sort)] == order
    assert sorted(entry.index for entry in listed(found, sort, refused=True)) == [0, 1, 2, 3, 4]


def test_a_score_that_is_none_stands_last() -> None:
    first, *others = front().candidates
    entries = listed(FrontDocument(Front((replace(first, r2_test=math.nan), *others))), "r2")
    assert entries[-1].index == 0


def test_one_engine() -> None:
    found = FrontDocument(front())
    assert [entry.index for entry in listed(found, engine="evolved")] == [2, 3]
    with pytest.raises(UserError, match="did you mean 'evolved'"):
        listed(found, engine="evolve")
    with pytest.raises(UserError, match="unknown order"):
        listed(found, "size")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", 3),
        ("network", {"mean_loss": "low", "per_run": []}),
        ("network", {"mean_loss": 10**400, "per_run": []}),
        ("network", {"mean_loss": 1.0, "per_run": 3}),
        ("network", {"mean_loss": 1.0, "diverged": -1}),
        ("distilled", {"score": None}),
        ("distilled", {"score": {"mean_loss": 1.0}, "buffers": 1.5}),
        ("distilled", {"score": {"mean_loss": 1.0}, "held_out": {"mean_loss": 1.0, "trail": [[1, 2]]}}),
        ("distilled", {"score": {"mean_loss": 1.0}, "held_out": {"mean_loss": 1.0, "trail": 7}}),
        ("measures", []),
        ("measures", {"network_tpf": "far"}),
        ("card", "mine"),
        ("pictures", {"curves": 1}),
    ],
)
def test_hostile_files(name: str, value: object) -> None:
    with pytest.raises(UserError):
        front_document({**document(), name: value})


def test_columns_that_were_turned_off_are_left_out() -> None:
    assert [column.name for column in columns_of(document())] == ["network", "distilled", "gained"]
