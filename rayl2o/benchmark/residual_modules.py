"""ResNet and MobileNetV2 in the CIFAR form as plain ``torch.nn`` modules: rivals of benchmarks, and the oracle of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from rayl2o.tasks.data import info
from rayl2o.tasks.vision import mobilenet, resnet


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the sides at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False)


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.outputs = channels
        self.conv1, self.bn1 = conv(inputs, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != channels:
            self.shortcut = nn.Sequential(conv(inputs, channels, 1, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.outputs = 4 * channels
        self.conv1, self.bn1 = conv(inputs, channels, 1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = conv(channels, self.outputs, 1), nn.BatchNorm2d(self.outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != self.outputs:
            self.shortcut = nn.Sequential(conv(inputs, self.outputs, 1, stride), nn.BatchNorm2d(self.outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        return relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Images ``[B, C, H, W]`` to logits ``[B, classes]``."""

    def __init__(
        self, block: type[Basic] | type[Bottleneck], blocks: Sequence[int], width: int, colours: int, classes: int = 10
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(colours, width, 3), nn.BatchNorm2d(width)
        inputs, self.stages = width, len(blocks)
        for stage, count in enumerate(blocks):
            layers = []
            for index in range(count):
                layers.append(block(inputs, width << stage, 2 if stage > 0 and index == 0 else 1))
                inputs = layers[-1].outputs
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: Tensor = self.linear(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))
        return logits


class Inverted(nn.Module):
    """Widens, convolves by channel, narrows."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inside, self.adds = expansion * inputs, stride == 1
        self.conv1, self.bn1 = conv(inputs, inside, 1), nn.BatchNorm2d(inside)
        self.conv2, self.bn2 = conv(inside, inside, 3, stride, groups=inside), nn.BatchNorm2d(inside)
        self.conv3, self.bn3 = conv(inside, outputs, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride == 1 and inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn3(self.conv3(relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))))
        return y + self.shortcut(x) if self.adds else y


class MobileNetV2(nn.Module):
    """Images to logits; stages are (expansion, channels, blocks, stride)."""

    def __init__(
        self, stem: int, stages: Sequence[tuple[int, int, int, int]], head: int, colours: int, classes: int = 10
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(colours, stem, 3), nn.BatchNorm2d(stem)
        layers, inputs = [], stem
        for expansion, outputs, count, stride in stages:
            for index in range(count):
                layers.append(Inverted(inputs, outputs, expansion, stride if index == 0 else 1))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.conv2, self.bn2 = conv(inputs, head, 1), nn.BatchNorm2d(head)
        self.linear = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.bn2(self.conv2(self.layers(relu(self.bn1(self.conv1(x)))))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def resnet_module(family: resnet.ResNet) -> Callable[[], nn.Module]:
    """Makes a :class:`~rayl2o.tasks.vision.resnet.ResNet`, from inputs ``[B, F]`` to logits ``[B, classes]``."""
    sizes, block = info(family.data), Bottleneck if family.bottleneck else Basic
    unflatten = nn.Unflatten(1, sizes.shape)
    return lambda: nn.Sequential(unflatten, ResNet(block, family.blocks, family.width, sizes.shape[0], sizes.classes))


def mobilenet_module(family: mobilenet.MobileNetV2) -> Callable[[], nn.Module]:
    """Makes a :class:`~rayl2o.tasks.vision.mobilenet.MobileNetV2`, from inputs ``[B, F]`` to logits ``[B, classes]``."""
    sizes = info(family.data)
    expansions = [1] + [family.expansion] * (len(family.channels) - 1)
    stages = list(zip(expansions, family.channels, family.blocks, family.strides, strict=True))
    unflatten = nn.Unflatten(1, sizes.shape)
    return lambda: nn.Sequential(
        unflatten, MobileNetV2(family.stem, stages, family.head, sizes.shape[0], sizes.classes)
    )
