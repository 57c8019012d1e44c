"""Autoencoders of images by multilayer perceptron, K of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.tasks.autograd_batch import AutogradBatch
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.data import SPLITS, info, load
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.minibatch import Minibatch, draw_minibatch
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks.activation import ACTIVATIONS
from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.glorot import glorot_rows
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec

OBJECTIVES = ("bernoulli", "squared")


@dataclass(frozen=True)
class Autoencoder:
    """Autoencoder of the images of one data set; nothing is random but initialisation and minibatches.

    F - widths - widths mirrored - F, fully connected. The code (the last of ``widths``) and the output are linear, the other
    layers have the activation, as in the deep autoencoders of Hinton and Salakhutdinov (2006) on which optimizers have been
    compared since Martens (2010). Both objectives are means over examples *and* pixels, so that they are of order 1 on any data
    set; those papers report F times as much, per image. Weights start Glorot-normal, biases from N(0, 0.01^2).

    Attributes:
        data: ``digits``, ``mnist`` or another data set of images.
        widths: Of the encoder's layers, the code last.
        activation: ``sigmoid``, ``relu`` or ``tanh``.
        objective: ``bernoulli``, the cross entropy of pixels in [0, 1] given the output as logits, in nats per pixel; or
            ``squared``, the mean squared error.
        batch_size: B, images per minibatch, drawn with replacement.
        split: ``train`` or ``test``.

    Raises:
        UserError: If a name is unknown or a number is not positive.
    """

    family: ClassVar[str] = "autoencoder"

    data: str = "digits"
    widths: tuple[int, ...] = (32, 8)
    activation: str = "sigmoid"
    objective: str = "bernoulli"
    batch_size: int = 128
    split: str = "train"

    def __post_init__(self) -> None:
        info(self.data)
        require_one_of("activation", self.activation, ACTIVATIONS)
        require_one_of("objective", self.objective, OBJECTIVES)
        require_one_of("split", self.split, SPLITS)
        if not self.widths or min(self.widths) < 1:
            mend = "give the widths of the encoder's layers, 1 or more each, the code last"
            raise UserError("setting autoencoder.widths is out of range", value=self.widths, mend=mend)
        require_within("autoencoder.batch_size", self.batch_size, 1)

    @property
    def layout(self) -> Layout:
        """``layer_i.weight [in, out]`` and ``layer_i.bias [out]`` for each layer, from the input up; reads no data."""
        features = info(self.data).features
        return dense_layout((features, *self.widths, *self.widths[-2::-1], features))

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> AutogradBatch:
        """K autoencoders side by side on one copy of the data.

        Raises:
            UserError: If a spec is not of this family with these settings, or the data cannot be read.
        """
        require_same(self, specs)
        layout, inputs = self.layout, load(self.data, self.split, device=device, dtype=dtype).inputs
        error = mse_loss if self.objective == "squared" else binary_cross_entropy_with_logits

        def losses(params: Tensor, batch: Minibatch) -> Tensor:
            images = torch.embedding(inputs, batch.rows())
            return error(self._reconstruct(layout.unflatten(params), images), images, reduction="none").mean((1, 2))

        def start(seeds: Sequence[int]) -> Tensor:
            return glorot_rows(layout, seeds).to(device, dtype)

        def draw(seeds: Sequence[int]) -> Minibatch:
            example_bytes = inputs.shape[1] * inputs.element_size()
            return draw_minibatch(seeds, len(inputs), self.batch_size, example_bytes, device)

        return AutogradBatch(layout, len(specs), losses, start, draw)

    def _reconstruct(self, tensors: Mapping[str, Tensor], values: Tensor) -> Tensor:
        """Outputs ``[K, B, F]`` from images ``[K, B, F]``."""
        layers = 2 * len(self.widths)
        linear = (len(self.widths) - 1, layers - 1)
        for layer in range(layers):
            weight, bias = tensors[f"layer_{layer}.weight"], tensors[f"layer_{layer}.bias"]
            values = torch.baddbmm(bias.unsqueeze(1), values, weight)
            if layer not in linear:
                values = ACTIVATIONS[self.activation].forward(values)
        return values


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "autoencoder-deep": NamedTask(
            "autoencoder",
            {"widths": (1000, 500, 250, 30), "activation": "sigmoid", "objective": "bernoulli"},
            "deep autoencoder F-1000-500-250-30 of Hinton and Salakhutdinov",
            {"data": "mnist"},
        ),
        "autoencoder-small": NamedTask(
            "autoencoder",
            {"widths": (16, 4), "activation": "sigmoid", "objective": "bernoulli"},
            "autoencoder F-16-4",
            {"batch_size": 32},
            twin_of="autoencoder-deep",
        ),
    }
)
