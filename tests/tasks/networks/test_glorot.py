from __future__ import annotations

import math

import torch

from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.glorot import glorot_rows

LAYOUT = dense_layout((300, 200, 1))


def test_spread_and_cut() -> None:
    """Glorot's standard deviation after the cut at two standard deviations of the normal that is cut (jax's glorot_normal)."""
    tensors = LAYOUT.unflatten(glorot_rows(LAYOUT, [0, 1, 2]))
    weight, std = tensors["layer_0.weight"], math.sqrt(2 / 500)
    assert weight.dtype == torch.float64
    assert abs(weight.mean()) < 0.01 * std
    assert abs(weight.std() / std - 1) < 0.01
    limit = 2 * std / 0.87962566103423978
    assert 0.99 * limit < weight.abs().max() <= limit
    assert abs(tensors["layer_0.bias"].std() / 0.01 - 1) < 0.1


def test_the_shape_within_is_normal() -> None:
    """The share within one standard deviation of the normal that is cut: erf(1 / sqrt 2) / erf(sqrt 2)."""
    weight = LAYOUT.unflatten(glorot_rows(LAYOUT, [3]))["layer_0.weight"]
    sigma = math.sqrt(2 / 500) / 0.87962566103423978
    share = (weight.abs() < sigma).double().mean()
    assert abs(share - math.erf(math.sqrt(0.5)) / math.erf(math.sqrt(2))) < 0.01


def test_a_row_depends_on_its_seed_alone() -> None:
    rows = glorot_rows(LAYOUT, [7, 8, 7])
    assert rows.shape == (3, LAYOUT.size)
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])
    assert torch.equal(rows[1:2], glorot_rows(LAYOUT, [8]))
