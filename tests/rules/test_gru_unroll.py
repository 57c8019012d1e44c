"""The hand-written backpropagation through the GRU: gradcheck, equality with autograd, bounded memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rayl2o.rules import gru_unroll
from rayl2o.rules.base import Phi
from rayl2o.rules.gru_cell import GruCell
from rayl2o.rules.gru_unroll import unroll_gru
from rayl2o.seeds import generator

CELLS = [GruCell(1, 4), GruCell(2, 3)]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


def _problem(cell: GruCell, steps: int, n: int) -> tuple[Phi, Tensor, Tensor]:
    draw = generator("gru unroll", n)
    phi = {
        name: torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()
        for name, shape in cell.shapes().items()
        if name != "gru.h0"
    }
    features = torch.randn(steps, cell.features, n, generator=draw, dtype=torch.float64)
    return phi, features, torch.randn(cell.hidden, n, generator=draw, dtype=torch.float64).requires_grad_()


@each_cell
def test_gradcheck(cell: GruCell) -> None:
    phi, features, state = _problem(cell, 4, 3)

    def readouts(state: Tensor, *weights: Tensor) -> Tensor:
        return unroll_gru(cell, dict(zip(phi, weights, strict=True)), features, state)[0]

    assert torch.autograd.gradcheck(readouts, (state, *phi.values()))


@each_cell
@pytest.mark.parametrize("room", [2**28, 600_000, 0], ids=["all kept", "some kept", "none kept"])
def test_it_is_autograd_through_the_steps(cell: GruCell, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayl2o.rules.gru_cell.BLOCK_GATES", 0)
    kept: list[bool] = []
    monkeypatch.setattr(gru_unroll, "_Block", _watched(kept))
    phi, features, state = _problem(cell, 5, 1100)
    upstream = torch.randn(5, 1100, generator=generator("upstream"), dtype=torch.float64)
    y, last = unroll_gru(cell, phi, features, state, room)
    assert kept == {2**28: [True] * 3, 600_000: [True, False, False], 0: [False] * 3}[room]
    stepped, end = [], state
    for f in features:
        readout, end = cell.step(phi, f, end)
        stepped.append(readout)
    expected = torch.stack(stepped)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, end.detach(), rtol=1e-12, atol=1e-12)
    assert not last.requires_grad
    leaves = [state, *phi.values()]
    found = torch.autograd.grad((y * upstream).sum(), leaves, retain_graph=True)
    for a, b in zip(found, torch.autograd.grad((expected * upstream).sum(), leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * float(b.abs().max()))
    again = torch.autograd.grad((y * upstream).sum(), leaves)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def _watched(kept: list[bool]) -> type:
    """The block operation, noting which blocks keep their record."""
    block = gru_unroll._Block

    class Watched:
        @staticmethod
        def apply(cell: GruCell, keep: bool, *tensors: Tensor) -> tuple[Tensor, Tensor]:
            kept.append(keep)
            y, last = block.apply(cell, keep, *tensors)  # type: ignore[no-untyped-call]
            return y, last

    return Watched
