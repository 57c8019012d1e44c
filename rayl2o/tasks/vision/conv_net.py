"""Classifiers by small convolutional network: Conv-MNIST, Conv-CIFAR and LeNet of paper T, MNIST CNN of R, cnn of S's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.data import SPLITS, info, load
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks.activation import ACTIVATIONS
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec
from rayl2o.tasks.vision.conv_batch import Network, conv_batch
from rayl2o.tasks.vision.conv_rows import SAME, VALID, max_pool_rows
from rayl2o.tasks.vision.layers import NORMS, STARTS, ConvLayer, DenseLayer, layout_of, starts_of

VARIANTS = ("paper", "code")


@dataclass(frozen=True)
class ConvNet:
    """Convolutions, each with batch norm, max-pooling and activation, then dense layers; only start and minibatches are random.

    ``paper`` and ``code`` differ in where biases start (T): the text draws every param from N(0, 0.01^2), the code sets the
    biases of Conv-MNIST and Conv-CIFAR to 0. Where the text of T is silent its code is followed: batch norm, always with the
    statistics of the minibatch, and a ReLU on the logits, without which T's figures cannot be understood (some runs stand still
    at a loss of ln 10, where all logits are dead).

    Attributes:
        data: A data set of images.
        channels: Of each convolution's output.
        kernels: Side of each kernel; one number for all. Likewise ``strides`` and ``pools``.
        strides: Of each convolution.
        pools: Side of the max-pooling after each convolution, also its stride; 1 for none.
        padding: ``valid`` or ``same`` (as in TensorFlow), of all convolutions.
        hidden: Widths of dense layers before the last one.
        activation: ``relu``, ``sigmoid``, ``tanh`` or another increasing one, after each layer but the last.
        norm: Batch norm after each layer but the last: ``none``; ``plain``, without params, as T's code has it in effect (its own
            scale and shift are hidden from the optimizer and stay 1 and 0); ``shift``, Sonnet's default; ``affine``, the usual.
        logits_relu: Whether there is a ReLU on the logits.
        classes: Labels of the examples used, numbered anew in this order; empty for all.
        batch_size: B, examples per minibatch, drawn with replacement.
        start: ``normal`` or ``glorot``; see :func:`~rayl2o.tasks.vision.layers.starts_of`.
        init_std: For ``normal``.
        variant: ``paper`` or ``code``: biases start as ``start`` says, or at 0.
        split: ``train``, ``test`` (T's evaluation optimizes on it) or another of :data:`~rayl2o.tasks.data.SPLITS`.

    Raises:
        UserError: If a name is unknown, a number is out of range, or an image is too small for its layers.
    """

    family: ClassVar[str] = "conv-net"

    data: str = "digits"
    channels: tuple[int, ...] = (8, 16)
    kernels: tuple[int, ...] = (3, 2)
    strides: tuple[int, ...] = (1,)
    pools: tuple[int, ...] = (2,)
    padding: str = VALID
    hidden: tuple[int, ...] = ()
    activation: str = "relu"
    norm: str = "none"
    logits_relu: bool = False
    classes: tuple[int, ...] = ()
    batch_size: int = 128
    start: str = "normal"
    init_std: float = 0.01
    variant: str = "paper"
    split: str = "train"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("padding", self.padding, (VALID, SAME)),
            ("activation", self.activation, ACTIVATIONS),
            ("norm", self.norm, NORMS),
            ("start", self.start, STARTS),
            ("variant", self.variant, VARIANTS),
            ("split", self.split, SPLITS),
        ):
            require_one_of(kind, value, known)
        if not self.channels:
            raise UserError("setting conv-net.channels is empty", value=self.channels, mend="use the family mlp")
        for name in ("channels", "kernels", "strides", "pools", "hidden"):
            for value in getattr(self, name):
                require_within(f"conv-net.{name}", value, 1)
        for name in ("kernels", "strides", "pools"):
            if len(getattr(self, name)) not in (1, len(self.channels)):
                mend = f"give one number, or one for each of {len(self.channels)} convolutions"
                raise UserError(f"setting conv-net.{name} has a wrong length", value=getattr(self, name), mend=mend)
        require_within("conv-net.batch_size", self.batch_size, 1 if self.norm == "none" else 2)
        require_within("conv-net.init_std", self.init_std, 0)
        self._require_classes()
        self._sides()

    @property
    def layout(self) -> Layout:
        """``conv_i`` and ``dense_i``: ``.weight``, ``.bias`` and, of batch norm, ``.scale`` and ``.shift``; reads no data."""
        return layout_of(self._layers())

    @property
    def network(self) -> Network:
        """The network that these settings describe."""
        convolutions = tuple(zip(self._convolutions(), self._each(self.pools), strict=True))
        dense, activate = self._dense(), ACTIVATIONS[self.activation].forward

        def logits(tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
            values = images
            for layer, pool in convolutions:
                values = layer.forward(tensors, values)
                if pool > 1:  # before the activation, which is increasing: the same values of a quarter of the numbers
                    values = max_pool_rows(values, pool)
                values = activate(values)
            values = values.flatten(2)
            for full in dense[:-1]:
                values = activate(full.forward(tensors, values))
            values = dense[-1].forward(tensors, values)
            return values.relu() if self.logits_relu else values

        images = [info(self.data).features]
        images += [layer.outputs * side**2 for (layer, _), (side, _) in zip(convolutions, self._sides(), strict=True)]
        return Network(self._layers(), logits, max(images), min(self.channels))

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> ChunkedBatch:
        """K classifiers side by side on one copy of the data.

        Raises:
            UserError: If a spec is not of this family with these settings, or the data cannot be read.
        """
        require_same(self, specs)
        data = load(self.data, self.split, device=device, dtype=dtype)
        starts = starts_of(self._layers(), self.start, self.init_std, zero_bias=self.variant == "code")
        return conv_batch(self.network, starts, data, info(self.data), len(specs), self.batch_size, self.classes)

    def _layers(self) -> tuple[ConvLayer | DenseLayer, ...]:
        return (*self._convolutions(), *self._dense())

    def _convolutions(self) -> list[ConvLayer]:
        shape = zip(self.channels, self._each(self.kernels), self._each(self.strides), strict=True)
        inputs, found = info(self.data).shape[0], []
        for i, (outputs, kernel, stride) in enumerate(shape):
            found.append(ConvLayer(f"conv_{i}", inputs, outputs, kernel, stride, self.padding, self.norm, depth=i))
            inputs = outputs
        return found

    def _dense(self) -> list[DenseLayer]:
        inputs = self.channels[-1] * self._sides()[-1][1] ** 2
        found = []
        for i, outputs in enumerate((*self.hidden, len(self.classes) or info(self.data).classes)):
            norm = self.norm if i < len(self.hidden) else "none"
            found.append(DenseLayer(f"dense_{i}", inputs, outputs, norm, depth=len(self.channels) + i))
            inputs = outputs
        return found

    def _sides(self) -> list[tuple[int, int]]:
        """Side of the images after each convolution and after its pooling."""
        shape = info(self.data).shape
        if len(shape) != 3 or shape[1] != shape[2]:
            raise UserError(
                "conv-net needs square images", value=self.data, mend=f"its examples have the shape {shape}"
            )
        side, found = shape[1], []
        for i, (layer, pool) in enumerate(zip(self._convolutions(), self._each(self.pools), strict=True)):
            wide = layer.side(side)
            if wide // pool < 1:
                what = (
                    f"images of {self.data} are too small for convolution {i} of conv-net and its pooling; side there"
                )
                raise UserError(what, value=side, mend="use smaller kernels, strides or pools, or padding=same")
            side = wide // pool
            found.append((wide, side))
        return found

    def _each(self, values: tuple[int, ...]) -> tuple[int, ...]:
        return values * len(self.channels) if len(values) == 1 else values

    def _require_classes(self) -> None:
        known = info(self.data).classes
        if not all(0 <= label < known for label in self.classes) or len(set(self.classes)) < len(self.classes):
            mend = f"use different numbers of 0..{known - 1}, or none for all classes"
            raise UserError("setting conv-net.classes is bad", value=self.classes, mend=mend)


_T: Mapping[str, object] = {"norm": "plain", "logits_relu": True}
"""Where T's text is silent and its code is not; open settings, since the text may be read otherwise."""
_CONV_MNIST = {"data": "mnist", "channels": (16, 32), "kernels": (3, 5), "strides": (1,), "pools": (2,)}
_CONV_CIFAR = {**_CONV_MNIST, "data": "cifar10", "strides": (2,)}
# Its code draws the biases of LeNet from N(0, 0.01^2), as the text says, so there is no other variant.
_SIGMOID = {"norm": "shift", "activation": "sigmoid", "variant": "paper"}
_LENET = {"data": "cifar10", "channels": (6, 16), "kernels": (5,), "hidden": (120, 84), **_SIGMOID}
_MNIST_CNN = {"data": "mnist", "channels": (16, 16, 16), "kernels": (3,), "pools": (1,), "variant": "paper"}
_S_CNN = {"data": "cifar10", "channels": (6, 12), "kernels": (3,), "variant": "paper"}
_SMALL = {"data": "digits", "channels": (8, 16)}
_HALF = {"classes": (0, 1, 2, 3, 4)}  # half A; B is the other five

NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "conv-mnist": NamedTask(
            "conv-net", _CONV_MNIST, "Conv-MNIST of T: conv 3x3x16, conv 5x5x32, each pooled, dense", _T, paper="T"
        ),
        "conv-mnist-small": NamedTask(
            "conv-net",
            {**_SMALL, "kernels": (3, 2)},
            "conv 3x3x8, conv 2x2x16, each pooled, dense, on digits",
            {**_T, "batch_size": 64},
            paper="T",
            twin_of="conv-mnist",
        ),
        "conv-cifar": NamedTask(
            "conv-net", _CONV_CIFAR, "Conv-CIFAR of T: Conv-MNIST with stride 2, on CIFAR-10", _T, paper="T"
        ),
        "conv-cifar-small": NamedTask(
            "conv-net",
            {**_SMALL, "kernels": (3,), "strides": (2,), "pools": (2, 1), "padding": SAME},
            "conv 3x3x8, pooled, conv 3x3x16, stride 2, dense, on digits",
            {**_T, "batch_size": 64},
            paper="T",
            twin_of="conv-cifar",
        ),
        "lenet": NamedTask(
            "conv-net", _LENET, "LeNet of T: conv 5x5x6, conv 5x5x16, dense 120-84-10, sigmoid, on CIFAR-10", paper="T"
        ),
        "lenet-small": NamedTask(
            "conv-net",
            {"data": "digits", "channels": (4, 8), "kernels": (3, 2), "hidden": (16, 12), **_SIGMOID},
            "conv 3x3x4, conv 2x2x8, dense 16-12-10, sigmoid, on digits",
            {"batch_size": 64},
            paper="T",
            twin_of="lenet",
        ),
        "mnist-cnn": NamedTask(
            "conv-net",
            _MNIST_CNN,
            "MNIST CNN of R: three conv 3x3x16, dense",
            {"batch_size": 100, "start": "glorot"},
            paper="R",
        ),
        "mnist-cnn-small": NamedTask(
            "conv-net",
            {**_MNIST_CNN, "data": "digits", "channels": (6, 6, 6)},
            "three conv 3x3x6, dense, on digits",
            {"batch_size": 64, "start": "glorot"},
            paper="R",
            twin_of="mnist-cnn",
        ),
        "s-cnn": NamedTask(
            "conv-net",
            _S_CNN,
            "cnn of S's code: conv 3x3x6, conv 3x3x12, each pooled, dense, on half of CIFAR-10's classes",
            _HALF,
            paper="S",
        ),
        "s-cnn-small": NamedTask(
            "conv-net",
            {**_S_CNN, "data": "digits", "channels": (4, 8), "kernels": (3, 2)},
            "conv 3x3x4, conv 2x2x8, each pooled, dense, on half of the digits",
            {**_HALF, "batch_size": 64},
            paper="S",
            twin_of="s-cnn",
        ),
    }
)
