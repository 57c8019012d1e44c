"""Classifiers by multilayer perceptron with softmax cross entropy: those of papers T and S are settings of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.data import SPLITS, info, load
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks.activation import ACTIVATIONS
from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.mlp_batch import MLPBatch
from rayl2o.tasks.specs import only_spec, seeded_spec
from rayl2o.tasks.subset import draw_subsets


@dataclass(frozen=True)
class MLP:
    """Classifier by multilayer perceptron on one data set, or on a random part of it.

    Attributes:
        data: ``digits``, ``mnist``, ``cifar10`` or another data set of docs/data.md.
        hidden: Widths of the hidden layers; none gives softmax regression.
        activation: ``sigmoid``, ``relu``, ``tanh``, ``elu``, ``leaky-relu`` or ``softplus``.
        batch_size: B, examples per minibatch, drawn with replacement.
        init_std: All weights and biases start from N(0, init_std^2) (T, code).
        split: ``train``, ``test`` (T's evaluation optimizes on the test split) or another of docs/data.md.
        centre: Subtracted from the inputs, which lie in [0, 1]; S has 0.5.
        examples: Of the split, drawn by the spec's seed; 0 for all, and then nothing is random but initialisation and
            minibatches.

    Raises:
        UserError: If a name is unknown or a number is out of its range.
    """

    family: ClassVar[str] = "mlp"

    data: str = "digits"
    hidden: tuple[int, ...] = (20,)
    activation: str = "sigmoid"
    batch_size: int = 128
    init_std: float = 0.01
    split: str = "train"
    centre: float = 0.0
    examples: int = 0

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
        if not math.isfinite(self.centre):
            raise UserError("setting mlp.centre is bad", value=self.centre, mend="use a finite number")
        if self.examples < 0:
            mend = "use 1 or more, or 0 for all examples of the split"
            raise UserError("setting mlp.examples is too small", value=self.examples, mend=mend)

    @property
    def layout(self) -> Layout:
        """``layer_i.weight [in, out]`` and ``layer_i.bias [out]`` for each layer, from the input up; reads no data."""
        sizes = info(self.data)
        return dense_layout((sizes.features, *self.hidden, sizes.classes))

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """The one task of this family, for which nothing is drawn; with ``examples``, a seed that draws them."""
        return seeded_spec(self, generator) if self.examples else only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> MLPBatch:
        """K classifiers side by side on one copy of the data.

        Raises:
            UserError: If a spec is not of this family with these settings, the data cannot be read, or the split has fewer
                than ``examples``.
        """
        require_same(self, specs)
        data = load(self.data, self.split, device=device, dtype=dtype)
        subsets = None
        if self.examples:
            subsets = draw_subsets([spec.seed for spec in specs], len(data.labels), self.examples, "mlp.examples")
        return MLPBatch(
            self.layout,
            len(specs),
            data,
            ACTIVATIONS[self.activation],
            self.batch_size,
            self.init_std,
            self.centre,
            subsets,
        )


_P2 = {"activation": "relu", "hidden": (50, 20), "centre": 0.5}
_P3 = {"activation": "relu", "hidden": (50, 20, 20, 12), "centre": 0.5}
_P2_SMALL = {"data": "digits", "activation": "relu", "hidden": (20, 10), "centre": 0.5}
_P3_SMALL = {"data": "digits", "activation": "relu", "hidden": (20, 12, 12, 10), "centre": 0.5}
_ON_MNIST = {"data": "mnist", "split": "half-1"}

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
        "p2": NamedTask("mlp", _P2, "P2 of S: F-50-20-10, ReLU, inputs less .5, half of MNIST", _ON_MNIST, paper="S"),
        "p3": NamedTask(
            "mlp", _P3, "P3 of S: F-50-20-20-12-10, ReLU, inputs less .5, half of MNIST", _ON_MNIST, paper="S"
        ),
        # S says "an MLP on CIFAR-10" and no more, and its code has none; the layers of P2 are our choice.
        "p4": NamedTask(
            "mlp", _P2, "P4 of S: MLP on CIFAR-10, layers not published: those of P2", {"data": "cifar10"}, paper="S"
        ),
        "p2-small": NamedTask("mlp", _P2_SMALL, "64-20-10-10, ReLU, half of digits", {"split": "half-1"}, twin_of="p2"),
        "p3-small": NamedTask(
            "mlp", _P3_SMALL, "64-20-12-12-10-10, ReLU, half of digits", {"split": "half-1"}, twin_of="p3"
        ),
        "p4-small": NamedTask("mlp", _P2_SMALL, "64-20-10-10, ReLU, all of digits", twin_of="p4"),
    }
)
"""P2 and P3 are meta-trained on ``half-1`` and evaluated on ``half-2`` (S, code)."""
