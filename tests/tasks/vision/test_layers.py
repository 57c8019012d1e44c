from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import batch_norm, conv2d

from rayl2o.layout import Layout
from rayl2o.tasks.initial import Start
from rayl2o.tasks.vision.layers import ConvLayer, DenseLayer, Layer, layout_of, starts_of

LAYERS: list[Layer] = [
    ConvLayer("conv", 2, 3, 5, norm="affine"),
    ConvLayer("plain", 3, 4, 1, norm="plain", depth=1),
    DenseLayer("wide", 8, 6, norm="shift", depth=2),
    DenseLayer("top", 6, 10, depth=3),
]


def test_layout() -> None:
    assert layout_of(LAYERS) == Layout(
        names=(
            *("conv.weight", "conv.bias", "conv.scale", "conv.shift"),
            *("plain.weight", "plain.bias"),
            *("wide.weight", "wide.bias", "wide.shift"),
            *("top.weight", "top.bias"),
        ),
        shapes=((3, 2, 5, 5), (3,), (3,), (3,), (4, 3, 1, 1), (4,), (8, 6), (6,), (6,), (6, 10), (10,)),
        kinds=("weight", "bias", "norm", "norm", "weight", "bias", "weight", "bias", "norm", "weight", "bias"),
        depths=(0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3),
    )


def test_normal_starts() -> None:
    one, zero, drawn = Start(value=1.0), Start(), Start(std=0.2)
    assert starts_of(LAYERS, "normal", 0.2, zero_bias=False) == [
        *(drawn, drawn, one, zero),
        *(drawn, drawn),
        *(drawn, drawn, zero),
        *(drawn, drawn),
    ]
    assert starts_of(LAYERS[:2], "normal", 0.2, zero_bias=True) == [drawn, zero, one, zero, drawn, zero]


def test_glorot_starts_count_the_whole_field_of_a_kernel() -> None:
    starts = starts_of([LAYERS[0], LAYERS[3]], "glorot", 0.2, zero_bias=False)
    assert [start.std for start in starts] == [
        *(math.sqrt(2 / (25 * 2 + 25 * 3)), 1e-6, 0.0, 0.0),
        *(math.sqrt(2 / 16), 1e-2),
    ]


@pytest.mark.parametrize(("padding", "stride"), [("valid", 1), ("valid", 2), ("valid", 3), ("same", 1), ("same", 2)])
def test_the_side_is_that_of_the_result(padding: str, stride: int) -> None:
    layer = ConvLayer("a", 1, 1, 3, stride, padding)
    tensors = {"a.weight": torch.ones(1, 1, 1, 3, 3), "a.bias": torch.ones(1, 1)}
    for size in range(3, 9):
        assert layer.forward(tensors, torch.ones(1, 2, 1, size, size)).shape[3:] == (layer.side(size),) * 2
    assert ConvLayer("a", 1, 1, 5).side(4) < 1


def test_forward_is_torchs_with_the_eps_of_tensorflow() -> None:
    rng = torch.Generator().manual_seed(0)
    layout = layout_of(LAYERS)
    tensors = layout.unflatten(torch.randn(2, layout.size, generator=rng, dtype=torch.float64))
    images = torch.randn(2, 3, 2, 6, 6, generator=rng, dtype=torch.float64)
    values = LAYERS[0].forward(tensors, images)
    flat = torch.randn(2, 3, 8, generator=rng, dtype=torch.float64)
    wide = LAYERS[2].forward(tensors, flat)
    for k in range(2):
        one = {name: tensor[k] for name, tensor in tensors.items()}
        expected = batch_norm(
            conv2d(images[k], one["conv.weight"], one["conv.bias"]),
            *(None, None, one["conv.scale"], one["conv.shift"]),
            training=True,
            eps=1e-3,
        )
        torch.testing.assert_close(values[k], expected)
        dense = flat[k] @ one["wide.weight"] + one["wide.bias"]
        expected = batch_norm(dense, None, None, None, one["wide.shift"], training=True, eps=1e-3)
        torch.testing.assert_close(wide[k], expected)
