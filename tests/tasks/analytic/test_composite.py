from __future__ import annotations

import torch

from rayl2o.layout import Layout
from rayl2o.tasks.analytic.composite import CompositeBatch
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.analytic.terms import Absolute, Ridge


def test_it_is_the_sum_and_the_rest_is_the_base() -> None:
    rng = torch.Generator().manual_seed(0)
    matrix, target = torch.randn(3, 4, 2, generator=rng).double(), torch.randn(3, 4, generator=rng).double()
    base = LeastSquaresBatch(Layout.flat(2), matrix, target, 0.5, 1.0)
    x, v = base.init_params([1, 2, 3]), base.init_params([4, 5, 6])
    loss, grad = base.loss_and_grad(x, None)
    for term, curvature in ((Ridge(torch.tensor([2.0, 3.0]).double()), torch.tensor([2.0, 3.0])), (Absolute(2.0), 0)):
        tasks = CompositeBatch(base, term)
        assert tasks.k == 3
        assert tasks.layout == base.layout
        assert torch.equal(tasks.init_params([1, 2, 3]), x)
        assert tasks.draw_batch([1, 2, 3]) is None
        found, slope = tasks.loss_and_grad(x, None)
        assert torch.equal(found, loss + term.value(x))
        assert torch.equal(found, tasks.loss(x, None))
        assert torch.equal(slope, grad + term.slope(x))
        assert torch.equal(tasks.hvp(x, None, v), base.hvp(x, None, v) + curvature * v)
