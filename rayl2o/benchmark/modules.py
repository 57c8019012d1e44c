"""Networks of the tasks as plain ``torch.nn`` modules: rivals of benchmarks, written as a textbook would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from torch import nn

from rayl2o.benchmark.conv_modules import ACTIVATIONS, conv_net_module, nas_cell_module
from rayl2o.benchmark.residual_modules import mobilenet_module, resnet_module
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.data import info
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.vision.conv_net import ConvNet
from rayl2o.tasks.vision.mobilenet import MobileNetV2
from rayl2o.tasks.vision.nas_cell import NASCell
from rayl2o.tasks.vision.resnet import ResNet


def module_of(family: TaskFamily) -> Callable[[], nn.Module] | None:
    """Makes a module from inputs ``[B, F]`` to logits ``[B, classes]`` with the family's layers; None if none is written here."""
    return next((make(family) for kind, make in _MODULES.items() if isinstance(family, kind)), None)


def _mlp(family: MLP) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        sizes = info(family.data)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise((sizes.features, *family.hidden, sizes.classes)):
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[family.activation]()]
        return nn.Sequential(*layers[:-1])

    return make


_MODULES: Mapping[type, Callable[[Any], Callable[[], nn.Module]]] = MappingProxyType(
    {
        MLP: _mlp,
        ConvNet: conv_net_module,
        NASCell: nas_cell_module,
        ResNet: resnet_module,
        MobileNetV2: mobilenet_module,
    }
)
