"""Networks of the tasks as plain ``torch.nn`` modules: rivals of benchmarks, written as a textbook would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from torch import nn

from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.data import info
from rayl2o.tasks.mlp import MLP

_ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}
)


def module_of(family: TaskFamily) -> Callable[[], nn.Module] | None:
    """Makes a module from inputs ``[B, F]`` to logits ``[B, classes]`` with the family's layers; None if none is written here."""
    return next((make(family) for kind, make in _MODULES.items() if isinstance(family, kind)), None)


def _mlp(family: MLP) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        sizes = info(family.data)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise((sizes.features, *family.hidden, sizes.classes)):
            layers += [nn.Linear(fan_in, fan_out), _ACTIVATIONS[family.activation]()]
        return nn.Sequential(*layers[:-1])

    return make


_MODULES: Mapping[type, Callable[[Any], Callable[[], nn.Module]]] = MappingProxyType({MLP: _mlp})
