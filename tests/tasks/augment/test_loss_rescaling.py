from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.augment.loss_rescaling import LossRescaling
from tests.tasks.augment.pairs import NETWORK, QUADRATIC, pair


def test_everything_is_multiplied_by_one_factor_per_task() -> None:
    found = pair(NETWORK, LossRescaling())
    x, v, batch = found.point("x"), found.point("v"), found.plain.draw_batch([1, 2, 3])
    loss, grad = found.augmented.loss_and_grad(x, batch)
    expected, inner = found.plain.loss_and_grad(x, batch)
    factor = loss / expected
    assert len({round(value, 6) for value in factor.tolist()}) == 3
    torch.testing.assert_close(grad, factor[:, None] * inner)
    torch.testing.assert_close(found.augmented.hvp(x, batch, v), factor[:, None] * found.plain.hvp(x, batch, v))
    torch.testing.assert_close(found.augmented.loss(x, batch), factor * found.plain.loss(x, batch))
    assert torch.equal(found.augmented.init_params([1, 2, 3]), found.plain.init_params([1, 2, 3]))


def test_factors_are_log_uniform() -> None:
    found = pair(QUADRATIC, LossRescaling(0.01, 100.0), k=200)
    x = found.point("x")
    logs = (found.augmented.loss(x, None) / found.plain.loss(x, None)).log10()
    assert logs.min() >= -2 - 1e-9
    assert logs.max() <= 2 + 1e-9
    quartiles = torch.quantile(logs, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quartiles, torch.tensor([-1.0, 0.0, 1.0]).double(), atol=0.35, rtol=0)


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="range of the loss rescaling is bad"):
        LossRescaling(0.0, 1.0)
