"""Convolutional and dense layers with batch norm as descriptions, from which tensors, start and forward pass of K follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.initial import Start
from rayl2o.tasks.vision.conv_rows import VALID, batch_norm_rows, conv_rows

NORMS = ("none", "plain", "shift", "affine")
"""Batch norm after a layer: none; without params; with a shift per channel; with a scale and a shift."""
NORM_EPS = 1e-3
"""Of TensorFlow's and Sonnet's batch norm. It matters: at weights of N(0, 0.01^2) the variance of an activation is smaller."""
STARTS = ("normal", "glorot")
_GLOROT_BIAS_STD = {"conv": 1e-6, "dense": 1e-2}


@dataclass(frozen=True)
class ConvLayer:
    """A convolution with bias, then batch norm.

    Attributes:
        name: Its tensors are called ``<name>.weight``, ``.bias``, ``.scale`` and ``.shift``.
        inputs, outputs: Channels.
        kernel: Side of the kernel.
        stride: Along both axes.
        padding: As :func:`~rayl2o.tasks.vision.conv_rows.conv_rows` takes it.
        norm: One of :data:`NORMS`.
        depth: Of its tensors.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: str = VALID
    norm: str = "none"
    depth: int = 0

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """As in torch, ``[outputs, inputs, kernel, kernel]``."""
        return (self.outputs, self.inputs, self.kernel, self.kernel)

    def forward(self, tensors: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """``[K, B, inputs, H, W]`` to ``[K, B, outputs, H', W']``."""
        weight, bias = tensors[f"{self.name}.weight"], tensors[f"{self.name}.bias"]
        return _normalised(self, tensors, conv_rows(values, weight, bias, stride=self.stride, padding=self.padding))

    def side(self, size: int) -> int:
        """Side of the output for a square input of side ``size``; below 1 where the kernel does not fit."""
        return (size - self.kernel) // self.stride + 1 if self.padding == VALID else -(-size // self.stride)


@dataclass(frozen=True)
class DenseLayer:
    """A fully connected layer with bias, then batch norm.

    Attributes:
        name, norm, depth: As of :class:`ConvLayer`.
        inputs, outputs: Widths.
    """

    name: str
    inputs: int
    outputs: int
    norm: str = "none"
    depth: int = 0

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """As in the family ``mlp``, ``[inputs, outputs]``."""
        return (self.inputs, self.outputs)

    def forward(self, tensors: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """``[K, B, inputs]`` to ``[K, B, outputs]``."""
        weight, bias = tensors[f"{self.name}.weight"], tensors[f"{self.name}.bias"]
        return _normalised(self, tensors, torch.baddbmm(bias.unsqueeze(1), values, weight))


Layer = ConvLayer | DenseLayer


def layout_of(layers: Sequence[Layer]) -> Layout:
    """Weight, bias, scale and shift of each layer, one layer after the other."""
    names: list[str] = []
    shapes: list[tuple[int, ...]] = []
    kinds: list[str] = []
    for layer in layers:
        names += [f"{layer.name}.{part}" for part in ("weight", "bias", *_norm_parts(layer))]
        shapes += [layer.weight_shape, *[(layer.outputs,)] * (1 + len(_norm_parts(layer)))]
        kinds += ["weight", "bias", *["norm"] * len(_norm_parts(layer))]
    depths = tuple(layer.depth for layer in layers for _ in range(2 + len(_norm_parts(layer))))
    return Layout(tuple(names), tuple(shapes), tuple(kinds), depths)


def starts_of(layers: Sequence[Layer], start: str, std: float, zero_bias: bool) -> list[Start]:
    """Where each tensor of :func:`layout_of` starts. Batch norm starts at scale 1 and shift 0 in every case.

    Args:
        layers: In the order of the layout.
        start: ``normal``: weights and biases from N(0, std^2). ``glorot``: the defaults of ``jax.example_libraries.stax``, with
            normals that are not cut: weights of standard deviation sqrt(2 / (fan-in + fan-out)), biases N(0, 1e-6^2) after a
            convolution and N(0, 0.01^2) after a dense layer.
        std: For ``normal``.
        zero_bias: Biases start at 0 instead.
    """
    found: list[Start] = []
    for layer in layers:
        weight_std = bias_std = std
        if start == "glorot":
            field = layer.kernel**2 if isinstance(layer, ConvLayer) else 1
            weight_std = math.sqrt(2 / (field * (layer.inputs + layer.outputs)))
            bias_std = _GLOROT_BIAS_STD["conv" if isinstance(layer, ConvLayer) else "dense"]
        found += [Start(std=weight_std), Start(std=0.0 if zero_bias else bias_std)]
        found += [Start(value=1.0 if part == "scale" else 0.0) for part in _norm_parts(layer)]
    return found


def _norm_parts(layer: Layer) -> tuple[str, ...]:
    return {"affine": ("scale", "shift"), "shift": ("shift",)}.get(layer.norm, ())


def _normalised(layer: Layer, tensors: Mapping[str, Tensor], values: Tensor) -> Tensor:
    if layer.norm == "none":
        return values
    scale, shift = (tensors.get(f"{layer.name}.{part}") for part in ("scale", "shift"))
    return batch_norm_rows(values, scale, shift, NORM_EPS)
