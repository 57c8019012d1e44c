"""The features of the small MLP against numbers worked out by hand and against the reference in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rayl2o.layout import Layout
from rayl2o.rules.small_mlp_features import (
    COORD_DECAYS,
    FACTORED_DECAYS,
    FEATURES,
    Moments,
    advance,
    factored_axes,
    factored_counts,
    factored_sizes,
    features,
    inverse_rms,
    step_embedding,
    targets,
)
from rayl2o.seeds import generator
from tests.rules.small_mlp_reference import DECAYS, TIMESCALES
from tests.rules.small_mlp_reference import Tensor as Reference


def _rates() -> tuple[torch.Tensor, torch.Tensor]:
    coord, factored = (
        1.0 - torch.tensor(d, dtype=torch.float64)[:, None, None] for d in (COORD_DECAYS, FACTORED_DECAYS)
    )
    return coord, factored


def _fresh(layout: Layout, k: int) -> Moments:
    return Moments(
        torch.zeros(4, k, layout.size, dtype=torch.float64),
        torch.zeros(3, k, sum(factored_counts(layout)), dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("shape", "axes", "sizes"),
    [
        ((), None, (1,)),
        ((7,), None, (7,)),
        ((3, 5), (0, 1), (3, 5)),
        ((5, 3), (1, 0), (3, 5)),
        ((4, 4), (0, 1), (4, 4)),
        ((1, 6), (0, 1), (1, 6)),
        ((16, 8, 3, 3), (1, 0), (72, 144)),
    ],
)
def test_the_two_largest_axes_are_factored(
    shape: tuple[int, ...], axes: tuple[int, int] | None, sizes: tuple[int, ...]
) -> None:
    assert factored_axes(shape) == axes
    assert factored_sizes(shape) == sizes


def test_targets_and_moments_by_hand() -> None:
    layout = Layout(("w", "b"), ((2, 3), (2,)), ("weight", "bias"), (0, 0))
    grad = torch.tensor([[1.0, 2.0, 3.0, 0.0, 0.0, 6.0, -1.0, 4.0]], dtype=torch.float64)
    aims = targets(layout, grad)
    rows, columns, squares = [14 / 3, 12.0], [0.5, 2.0, 22.5], [1.0, 16.0]
    torch.testing.assert_close(aims.factored, torch.tensor([rows + columns + squares], dtype=torch.float64))
    assert torch.equal(aims.coord, torch.stack((grad, grad, grad, grad**2)))
    after = advance(advance(_fresh(layout, 1), aims, *_rates()), aims, *_rates())
    torch.testing.assert_close(after.coord[0, 0], 0.19 * grad[0])
    torch.testing.assert_close(after.coord[3, 0], (1 - 0.999**2) * grad[0] ** 2)
    torch.testing.assert_close(after.factored[1], (1 - 0.99**2) * aims.factored)


def test_a_matrix_by_hand() -> None:
    """Row means 1 and 4, column means 2.5 twice: the factored gradient is g / sqrt(row / mean row) / sqrt(column)."""
    grad = torch.tensor([[1.0, 1.0, -2.0, 2.0]], dtype=torch.float64)
    params = torch.tensor([[0.5, 0.0, 0.0, 1.0]], dtype=torch.float64)
    coord = torch.stack((grad, 2 * grad, 3 * grad, grad**2))
    factored = torch.tensor([1.0, 4.0, 2.5, 2.5], dtype=torch.float64).expand(3, 1, 4)
    found = torch.cat(features((2, 2), grad, params, coord, factored))[:, 0]
    assert found.shape == (FEATURES, 4)
    sign = torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    rows = torch.tensor([1.0, 1.0, 4.0, 4.0], dtype=torch.float64)
    columns = torch.full((4,), 2.5, dtype=torch.float64)
    for i in range(3):
        torch.testing.assert_close(found[6 + i], (i + 1.0) * sign, rtol=1e-5, atol=0.0)  # m / sqrt v
        torch.testing.assert_close(found[10 + i], sign, rtol=1e-5, atol=0.0)
        assert torch.equal(found[13 + i], rows)
        assert torch.equal(found[16 + i], columns)
        torch.testing.assert_close(found[19 + i], rows**-0.5, rtol=1e-5, atol=0.0)
        torch.testing.assert_close(found[22 + i], columns**-0.5, rtol=1e-5, atol=0.0)
        torch.testing.assert_close(found[25 + i], (i + 1.0) * sign, rtol=1e-5, atol=0.0)
    assert torch.equal(found[1], params[0])
    torch.testing.assert_close(found[9], 1 / grad[0].abs(), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (5, 3), (4, 4), (1, 6), (2, 3, 4), (4, 3, 2, 2)], ids=str)
def test_three_steps_are_the_reference(shape: tuple[int, ...]) -> None:
    layout = Layout(("x",), (shape,), ("weight",), (0,))
    now, k = _fresh(layout, 2), 2
    references = [Reference(shape, DECAYS) for _ in range(k)]
    draw = generator("mlp features", *shape)
    for _ in range(3):
        grad, params = torch.randn(2, k, layout.size, generator=draw, dtype=torch.float64) * 0.1
        now = advance(now, targets(layout, grad), *_rates())
        raw = torch.cat(features(shape, grad, params, now.coord, now.factored))
        found = raw * inverse_rms(raw * raw)
        for i, reference in enumerate(references):
            g, p = (x[i].numpy().reshape(shape) for x in (grad, params))
            expected = np.moveaxis(reference.features(g, p), -1, 0).reshape(FEATURES, -1)
            np.testing.assert_allclose(found[:, i].numpy(), expected, rtol=1e-12, atol=1e-14)


def test_normalisation_leaves_a_mean_square_of_one() -> None:
    rows = (
        torch.randn(3, 2, 50, generator=generator("rows"), dtype=torch.float64)
        * torch.tensor([1e4, 1.0, 1e-9])[:, None, None]
    )
    mean_squares = ((rows * inverse_rms(rows * rows)) ** 2).mean(-1)
    torch.testing.assert_close(mean_squares[0], torch.ones(2, dtype=torch.float64))
    assert float(mean_squares[2].max()) < 1e-10  # below sqrt(1e-5) nothing is blown up


def test_step_embedding() -> None:
    found = step_embedding(torch.tensor([[0], [30]]), torch.zeros(1, dtype=torch.float64))
    assert found.shape == (11, 2)
    np.testing.assert_allclose(found.numpy(), np.tanh(np.array([0, 30]) / TIMESCALES[:, None] - 1.0), rtol=1e-14)
    assert float(found[0, 0]) == pytest.approx(-math.tanh(1.0))
