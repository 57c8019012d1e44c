"""Convolutional networks of residual blocks as a description, from which the layout and the forward pass both follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.vision.conv_rows import batch_norm_rows, conv_rows


@dataclass(frozen=True)
class ConvNorm:
    """A convolution without bias, padded so that stride 1 keeps the size, then batch norm with its own scale and shift.

    Attributes:
        conv, norm: Names of the two layers.
        inputs, outputs: Channels.
        kernel: Side of the kernel, odd.
        stride: Of the convolution.
        groups: 1, or ``inputs`` for a depthwise convolution.
    """

    conv: str
    norm: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def tensors(self) -> tuple[tuple[str, tuple[int, ...], str], ...]:
        """Name, shape and kind of each tensor, as torch's modules hold them."""
        return (
            (f"{self.conv}.weight", (self.outputs, self.inputs // self.groups, self.kernel, self.kernel), "weight"),
            (f"{self.norm}.weight", (self.outputs,), "norm"),
            (f"{self.norm}.bias", (self.outputs,), "norm"),
        )

    def forward(self, tensors: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """``[K, B, inputs, H, W]`` to ``[K, B, outputs, H', W']``; the statistics are those of the minibatch, always."""
        weight, scale, shift = (tensors[name] for name, _, _ in self.tensors)
        values = conv_rows(values, weight, stride=self.stride, padding=self.kernel // 2, groups=self.groups)
        return batch_norm_rows(values, scale, shift)


@dataclass(frozen=True)
class Block:
    """Convolutions with ReLU between them, and what is added to their result.

    Attributes:
        path: From input to output, at least one.
        shortcut: Nothing is added (None), the block's input is (empty), or that input after one convolution.
        relu: Whether ReLU comes last.
    """

    path: tuple[ConvNorm, ...]
    shortcut: tuple[ConvNorm, ...] | None = None
    relu: bool = True

    def forward(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """``[K, B, C, H, W]`` to ``[K, B, C', H', W']``."""
        values = inputs
        for unit in self.path[:-1]:
            values = unit.forward(tensors, values).relu()
        values = self.path[-1].forward(tensors, values)
        if self.shortcut is not None:
            for unit in self.shortcut:
                inputs = unit.forward(tensors, inputs)
            values = values + inputs
        return values.relu() if self.relu else values


@dataclass(frozen=True)
class ResidualNetwork:
    """Blocks, the mean over all pixels, and one linear layer.

    Attributes:
        blocks: From the input up; stem and head are blocks of one convolution.
        classes: Number of logits.
    """

    blocks: tuple[Block, ...]
    classes: int

    @cached_property
    def layout(self) -> Layout:
        """Tensors by the names, in the order and of the shapes of the same network's ``state_dict`` in torch.

        A depth counts the convolutions before a tensor; a shortcut's is that of its block's first convolution.
        """
        found: list[tuple[str, tuple[int, ...], str, int]] = []
        for depth, unit in self._units():
            found += [(*tensor, depth) for tensor in unit.tensors]
        top = sum(len(block.path) for block in self.blocks)
        features = self.blocks[-1].path[-1].outputs
        found += [("linear.weight", (self.classes, features), "weight", top)]
        found += [("linear.bias", (self.classes,), "bias", top)]
        names, shapes, kinds, depths = zip(*found, strict=True)
        return Layout(names, shapes, kinds, depths)

    def sides(self, height: int, width: int) -> list[tuple[int, int]]:
        """Height and width of the images after each convolution of the blocks' paths, for those of the input."""
        found = []
        for block in self.blocks:
            for unit in block.path:
                height, width = -(-height // unit.stride), -(-width // unit.stride)
                found.append((height, width))
        return found

    def peak(self, height: int, width: int) -> int:
        """Numbers in the largest images of one example anywhere, for an input of this height and width."""
        outputs = [unit.outputs for block in self.blocks for unit in block.path]
        return max(n * h * w for n, (h, w) in zip(outputs, self.sides(height, width), strict=True))

    def logits(self, tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """``images [K, B, C, H, W]`` to ``[K, B, classes]``, with ``tensors [K, ...]`` as the layout cuts them.

        Twice differentiable in the tensors.
        """
        values = images
        for block in self.blocks:
            values = block.forward(tensors, values)
        return torch.baddbmm(tensors["linear.bias"].unsqueeze(1), values.mean((3, 4)), tensors["linear.weight"].mT)

    def _units(self) -> Iterator[tuple[int, ConvNorm]]:
        depth = 0
        for block in self.blocks:
            yield from enumerate(block.path, depth)
            yield from ((depth, unit) for unit in block.shortcut or ())
            depth += len(block.path)
