"""Packing of coordinate state: values, memory order, purity."""

from __future__ import annotations

import torch

from rayl2o.layout import Layout
from rayl2o.rules.packing import filled_state, pack, unpack


def test_pack_and_unpack_are_inverse_without_a_copy() -> None:
    rows = torch.arange(24.0).reshape(2, 3, 4)
    coord = pack(rows)
    assert coord.shape == (3, 4, 2)
    assert coord[1, 2].tolist() == [rows[0, 1, 2], rows[1, 1, 2]]
    assert unpack(coord).data_ptr() == rows.data_ptr()
    assert torch.equal(pack([rows[0], rows[1]]), coord)


def test_unpack_copies_a_foreign_memory_order() -> None:
    coord = torch.arange(24.0).reshape(3, 4, 2)
    rows = unpack(coord)
    assert rows.is_contiguous()
    assert torch.equal(pack(rows), coord)
    rows.zero_()
    assert coord.sum() > 0


def test_filled_state_holds_the_value_of_each_row() -> None:
    state = filled_state((1.0, 2.0), Layout.flat(3), 2, torch.float64, "cpu")
    assert state["coord"].tolist() == [[[1.0, 2.0]] * 3] * 2
    assert state["coord"].dtype == torch.float64
    assert filled_state((), Layout.flat(3), 2, torch.float32, "cpu")["coord"].shape == (2, 3, 0)
