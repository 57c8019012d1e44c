"""Classifiers by multilayer perceptron with softmax cross entropy: MLP-orig, -ReLU and -deeper of paper T are settings of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.tasks.activation import ACTIVATIONS
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.data import SPLITS, info, load
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.mlp_batch import MLPBatch
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.settings import to_settings


@dataclass(frozen=True)
class MLP:
    """Classifier by multilayer perceptron on one data set; nothing is random but initialisation and minibatches.

    Attributes:
        data: ``digits`` or ``mnist``.
        hidden: Widths of the hidden layers; none gives softmax regression.
        activation: ``sigmoid``, ``relu`` or ``tanh``.
        batch_size: B, examples per minibatch, drawn with replacement.
        init_std: All weights and biases start from N(0, init_std^2) (T, code).
        split: ``train`` or ``test`` (T's evaluation optimizes on the test split).

    Raises:
        UserError: If a name is unknown or a number is not positive.
    """

    family: ClassVar[str] = "mlp"

    data: str = "digits"
    hidden: tuple[int, ...] = (20,)
    activation: str = "sigmoid"
    batch_size: int = 128
    init_std: float = 0.01
    split: str = "train"

    def __post_init__(self) -> None:
        info(self.data)
        if self.activation not in ACTIVATIONS:
            raise unknown_name("activation", self.activation, ACTIVATIONS)
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if any(width < 1 for width in self.hidden):
            raise UserError("setting mlp.hidden has a width below 1", value=self.hidden, mend="use 1 or more")
        if self.batch_size < 1:
            raise UserError("setting mlp.batch_size is too small", value=self.batch_size, mend="use 1 or more")
        if not 0 <= self.init_std < math.inf:
            raise UserError("setting mlp.init_std is bad", value=self.init_std, mend="use a number of 0 or more")

    @property
    def layout(self) -> Layout:
        """``layer_i.weight [in, out]`` and ``layer_i.bias [out]`` for each layer, from the input up; reads no data."""
        sizes = info(self.data)
        pairs = list(pairwise((sizes.features, *self.hidden, sizes.classes)))
        return Layout(
            names=tuple(f"layer_{i}.{kind}" for i in range(len(pairs)) for kind in ("weight", "bias")),
            shapes=tuple(shape for fan_in, fan_out in pairs for shape in ((fan_in, fan_out), (fan_out,))),
            kinds=("weight", "bias") * len(pairs),
            depths=tuple(i for i in range(len(pairs)) for _ in range(2)),
        )

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return TaskSpec(self.family, to_settings(self))

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> MLPBatch:
        """K classifiers side by side on one copy of the data.

        Raises:
            UserError: If a spec is not of this family with these settings, or the data cannot be read.
        """
        require_same(self, specs)
        data = load(self.data, self.split, device=device, dtype=dtype)
        activation = ACTIVATIONS[self.activation]
        return MLPBatch(self.layout, len(specs), data, activation, self.batch_size, self.init_std)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "mlp-orig": NamedTask(
            "mlp", {"activation": "sigmoid", "hidden": (20,)}, "MLP-orig of T: F-20-10, sigmoid", paper="T"
        ),
        "mlp-relu": NamedTask(
            "mlp", {"activation": "relu", "hidden": (20,)}, "MLP-ReLU of T: F-20-10, ReLU", paper="T"
        ),
        "mlp-deeper": NamedTask(
            "mlp", {"activation": "sigmoid", "hidden": (20, 20)}, "MLP-deeper of T: F-20-20-10, sigmoid", paper="T"
        ),
    }
)
