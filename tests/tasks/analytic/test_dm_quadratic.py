from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.dm_quadratic import NAMED, DMQuadratic
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch


def build(k: int, family: DMQuadratic) -> LeastSquaresBatch:
    rng = torch.Generator().manual_seed(0)
    return family.build([family.sample(rng) for _ in range(k)], dtype=torch.float64)


def test_it_is_the_form_of_the_code() -> None:
    """|Wx - y|^2 with both uniform on [0, 1), and x0 ~ N(0, 0.01^2)."""
    tasks = build(100, DMQuadratic())
    assert tasks.matrix.shape == (100, 10, 10)
    for values in (tasks.matrix, tasks.target):
        assert values.min() >= 0
        assert values.max() < 1
        assert abs(values.mean() - 0.5) < 0.02
        assert abs(values.std() - 12**-0.5) < 0.01
    x = tasks.init_params(range(100))
    assert abs(x.std() - 0.01) < 5e-4
    expected = torch.einsum("kij,kj->ki", tasks.matrix, x).sub(tasks.target).square().sum(1)
    torch.testing.assert_close(tasks.loss(x, None), expected)
    assert tasks.minimum.max() < 1e-12


def test_one_direction_is_far_steeper() -> None:
    eigenvalues = torch.linalg.eigvalsh(build(100, DMQuadratic()).matrix.mT @ build(100, DMQuadratic()).matrix)
    assert abs(eigenvalues[:, -1].mean() / 25 - 1) < 0.1
    assert (eigenvalues[:, -1] > 5 * eigenvalues[:, -2]).all()


def test_name_and_bad_settings() -> None:
    assert NAMED["dm-quadratic"].paper == "T"
    bad: list[dict[str, Any]] = [{"size": 0}, {"init_std": -0.1}]
    for settings in bad:
        with pytest.raises(UserError, match=r"dm-quadratic.* is out of range"):
            DMQuadratic(**settings)
