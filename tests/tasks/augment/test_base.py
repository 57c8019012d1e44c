from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.seeds import generator
from rayl2o.tasks.augment.base import Wrapped, rows, start
from tests.tasks.augment.pairs import NETWORK


def test_what_is_not_overridden_is_the_inner_batch() -> None:
    inner = NETWORK.build([NETWORK.sample(generator("any"))] * 2)
    outer = Wrapped(inner)
    assert outer.layout == inner.layout
    assert outer.k == 2
    x, batch = outer.init_params([1, 2]), outer.draw_batch([3, 4])
    assert torch.equal(x, inner.init_params([1, 2]))
    for one, two in zip(outer.loss_and_grad(x, batch), inner.loss_and_grad(x, batch), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(outer.hvp(x, batch, x), inner.hvp(x, batch, x))
    assert torch.equal(outer.loss(x, batch), inner.loss(x, batch))


def test_rows_draw_once_for_equal_seeds() -> None:
    asked = []

    def draw(seed: int) -> Tensor:
        asked.append(seed)
        return torch.full((2,), float(seed))

    assert rows([5, 3, 5], draw).tolist() == [[5.0, 5.0], [3.0, 3.0], [5.0, 5.0]]
    assert asked == [5, 3]


def test_a_start_is_float64_with_float32_values() -> None:
    exact = torch.randn(100, generator=generator("start"), dtype=torch.float64)
    assert torch.equal(start(exact), start(exact.float()))
    assert start(exact).dtype == torch.float64
    assert not torch.equal(start(exact), exact)
