"""The GRU cell in blocks."""

from __future__ import annotations

import pytest
import torch

from rayl2o.rules.gru_cell import GruCell
from rayl2o.seeds import generator


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_blocks_change_nothing(dtype: torch.dtype) -> None:
    cell, draw, n = GruCell(2, 40), generator("blocks"), 2500
    assert cell.block < n
    phi = {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in cell.shapes().items()}
    features, state = torch.randn(2, n, generator=draw).to(dtype), torch.randn(40, n, generator=draw).to(dtype)
    with torch.no_grad():
        y, new = cell.step(phi, features, state)
    expected, expected_new = cell.step({name: w.requires_grad_() for name, w in phi.items()}, features, state)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(y, expected.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(new, expected_new.detach(), rtol=tolerance, atol=tolerance)


def test_the_learned_state_is_taken_where_a_column_is_at_step_0() -> None:
    cell = GruCell(1, 3)
    phi = {"gru.h0": torch.tensor([1.0, 2.0, 3.0])}
    state = torch.zeros(3, 2, 4)
    assert cell.started(phi, state, torch.tensor(2)) is state
    assert torch.equal(cell.started(phi, state, torch.tensor(0)), phi["gru.h0"].view(3, 1, 1).expand(3, 2, 4))
    apart = cell.started(phi, state, torch.tensor([0, 1, 0, 5]))
    assert torch.equal(apart.any(0), torch.tensor([True, False, True, False]).expand(2, 4))
