from __future__ import annotations

import torch

from rayl2o.layout import Layout
from rayl2o.tasks.initial import Start, start_rows

LAYOUT = Layout(("a", "b", "c"), ((40, 50), (3,), (30, 20)), ("weight", "norm", "weight"), (0, 0, 1))
STARTS = [Start(std=0.5), Start(value=1.0), Start(std=2.0)]


def test_each_tensor_has_its_own_law() -> None:
    rows = start_rows([1, 2, 1], LAYOUT, STARTS, dtype=torch.float64)
    tensors = LAYOUT.unflatten(rows)
    assert abs(tensors["a"].std() - 0.5) < 0.02
    assert abs(tensors["a"].mean()) < 0.03
    assert torch.equal(tensors["b"], torch.ones(3, 3, dtype=torch.float64))
    assert abs(tensors["c"].std() - 2) < 0.1
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])


def test_a_row_depends_on_its_seed_alone_and_on_no_dtype() -> None:
    rows = start_rows([5, 6], LAYOUT, STARTS, dtype=torch.float64)
    assert torch.equal(start_rows([6], LAYOUT, STARTS, dtype=torch.float64)[0], rows[1])
    single = start_rows([5, 6], LAYOUT, STARTS)
    assert single.dtype == torch.float32
    assert torch.equal(single, rows.float())
