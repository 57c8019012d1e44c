"""Small convolutional networks of the tasks as plain ``torch.nn`` modules: what a textbook would write, not what is fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from rayl2o.tasks.data import info
from rayl2o.tasks.vision.conv_net import ConvNet
from rayl2o.tasks.vision.conv_rows import SAME
from rayl2o.tasks.vision.layers import NORM_EPS
from rayl2o.tasks.vision.nas_cell import KERNELS, NASCell, edges_of

ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        "sigmoid": nn.Sigmoid,
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "elu": nn.ELU,
        "leaky-relu": nn.LeakyReLU,
        "softplus": nn.Softplus,
    }
)
"""By the names that the tasks know."""


def conv_net_module(family: ConvNet) -> Callable[[], nn.Module]:
    """Makes a :class:`~rayl2o.tasks.vision.conv_net.ConvNet`, from inputs ``[B, F]`` to logits ``[B, classes]``."""

    def make() -> nn.Module:
        colours, side, _ = info(family.data).shape
        layers: list[nn.Module] = [nn.Unflatten(1, info(family.data).shape)]
        count, inputs = len(family.channels), colours
        for i, outputs in enumerate(family.channels):
            kernel, stride, pool = (
                values[i if len(values) == count else 0] for values in (family.kernels, family.strides, family.pools)
            )
            if family.padding == SAME:
                zeros = max((-(-side // stride) - 1) * stride + kernel - side, 0)
                layers.append(nn.ZeroPad2d((zeros // 2, zeros - zeros // 2) * 2))
                side += zeros
            layers += [nn.Conv2d(inputs, outputs, kernel, stride), *_norm(nn.BatchNorm2d, outputs, family.norm)]
            layers += [ACTIVATIONS[family.activation](), nn.MaxPool2d(pool)]
            inputs, side = outputs, ((side - kernel) // stride + 1) // pool
        layers.append(nn.Flatten())
        inputs *= side**2
        for outputs in family.hidden:
            layers += [nn.Linear(inputs, outputs), *_norm(nn.BatchNorm1d, outputs, family.norm)]
            layers.append(ACTIVATIONS[family.activation]())
            inputs = outputs
        layers.append(nn.Linear(inputs, len(family.classes) or info(family.data).classes))
        return nn.Sequential(*layers, *([nn.ReLU()] if family.logits_relu else []))

    return make


def nas_cell_module(family: NASCell) -> Callable[[], nn.Module]:
    """Makes a :class:`~rayl2o.tasks.vision.nas_cell.NASCell`, from inputs ``[B, F]`` to logits ``[B, classes]``."""
    return lambda: _Cell(family)


class _Cell(nn.Module):
    def __init__(self, family: NASCell) -> None:
        super().__init__()
        sizes = info(family.data)
        self.edges = edges_of(family.cell)
        self.stem = nn.Sequential(nn.Unflatten(1, sizes.shape), _conv(sizes.shape[0], 3, family))
        self.operations = nn.ModuleList()
        for edge in self.edges:
            if edge.operation in KERNELS:
                self.operations.append(_conv(family.width, KERNELS[edge.operation], family))
            elif edge.operation == "avg_pool_3x3":
                self.operations.append(nn.AvgPool2d(3, 1, 1, count_include_pad=False))
            else:
                self.operations.append(nn.Identity())
        self.dense = nn.Linear(family.width, sizes.classes)
        self.logits_relu = family.logits_relu

    def forward(self, inputs: Tensor) -> Tensor:
        nodes: list[Tensor] = [self.stem(inputs)]
        for head in range(1, self.edges[-1].head + 1):
            total = torch.zeros_like(nodes[0])
            for edge, operation in zip(self.edges, self.operations, strict=True):
                if edge.head == head and edge.operation != "none":
                    total = total + operation(nodes[edge.tail])
            nodes.append(total)
        logits: Tensor = self.dense(nodes[-1].mean((2, 3)))
        return logits.relu() if self.logits_relu else logits


def _conv(inputs: int, kernel: int, family: NASCell) -> nn.Module:
    conv = nn.Conv2d(inputs, family.width, kernel, padding=kernel // 2)
    return nn.Sequential(conv, *_norm(nn.BatchNorm2d, family.width, family.norm), nn.ReLU())


def _norm(kind: type[nn.BatchNorm1d | nn.BatchNorm2d], channels: int, norm: str) -> list[nn.Module]:
    """Batch norm with the minibatch's statistics; its scale is held at 1 where the task has a shift alone."""
    if norm == "none":
        return []
    layer = kind(channels, NORM_EPS, affine=norm != "plain", track_running_stats=False)
    if norm == "shift":
        layer.weight.requires_grad_(False)
    return [layer]
