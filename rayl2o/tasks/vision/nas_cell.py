"""Classifiers by one cell of the search space NAS-Bench-201: NAS-CIFAR of paper T is one of its 15,625 architectures."""

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
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec
from rayl2o.tasks.vision.conv_batch import Network, conv_batch
from rayl2o.tasks.vision.conv_rows import SAME, avg_pool_rows
from rayl2o.tasks.vision.layers import NORMS, ConvLayer, DenseLayer, layout_of, starts_of

VARIANTS = ("paper", "code")
KERNELS: Mapping[str, int] = MappingProxyType({"nor_conv_1x1": 1, "nor_conv_3x3": 3})
OPERATIONS = ("none", "skip_connect", *KERNELS, "avg_pool_3x3")
"""The five operations of the search space, by its own names."""
NAS_CIFAR = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
"""T, footnote 4."""


@dataclass(frozen=True)
class Edge:
    """An operation on the way from one node of the cell to a later one.

    Attributes:
        tail, head: Numbers of the nodes; 0 is the cell's input.
        operation: One of :data:`OPERATIONS`.
    """

    tail: int
    head: int
    operation: str


@dataclass(frozen=True)
class NASCell:
    """A 3x3 convolution, one cell, the mean over all pixels and a dense layer; only start and minibatches are random.

    A node of the cell is the sum of operations on earlier nodes. T's text takes the architecture from NAS-Bench-201 and says no
    more, so its code is followed: one cell, each convolution with bias, batch norm and ReLU in this order (the benchmark has
    ReLU first, no bias, and 15 cells), zeros of the padding not counted by the mean pooling, and a ReLU on the logits. ``paper``
    and ``code`` differ in where biases start: as all params from N(0, init_std^2), or at 0.

    Attributes:
        data: A data set of images.
        cell: In the notation of NAS-Bench-201: nodes separated by ``+``, each the sum of ``|operation~node|`` on earlier ones.
        width: Channels everywhere.
        norm: Batch norm of each convolution; as of :class:`~rayl2o.tasks.vision.conv_net.ConvNet`.
        logits_relu: Whether there is a ReLU on the logits.
        batch_size: B, examples per minibatch, drawn with replacement.
        init_std: All weights start from N(0, init_std^2).
        variant: ``paper`` or ``code``.
        split: ``train``, ``test`` (T's evaluation optimizes on it) or another of :data:`~rayl2o.tasks.data.SPLITS`.

    Raises:
        UserError: If a name is unknown, a number is out of range, or the cell is none.
    """

    family: ClassVar[str] = "nas-cell"

    data: str = "digits"
    cell: str = NAS_CIFAR
    width: int = 16
    norm: str = "plain"
    logits_relu: bool = True
    batch_size: int = 128
    init_std: float = 0.01
    variant: str = "paper"
    split: str = "train"

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("norm", self.norm, NORMS),
            ("variant", self.variant, VARIANTS),
            ("split", self.split, SPLITS),
        ):
            require_one_of(kind, value, known)
        if len(info(self.data).shape) != 3:
            mend = f"its examples have the shape {info(self.data).shape}"
            raise UserError("nas-cell needs images", value=self.data, mend=mend)
        require_within("nas-cell.width", self.width, 1)
        require_within("nas-cell.batch_size", self.batch_size, 1 if self.norm == "none" else 2)
        require_within("nas-cell.init_std", self.init_std, 0)
        edges_of(self.cell)

    @property
    def layout(self) -> Layout:
        """``stem``, ``edge_<tail>_<head>`` of each convolution and ``dense``; reads no data."""
        return layout_of(self._layers())

    @property
    def network(self) -> Network:
        """The network that these settings describe."""
        edges = edges_of(self.cell)
        stem, *convolutions = self._convolutions()
        dense, named = self._dense(), {layer.name: layer for layer in convolutions}

        def along(edge: Edge, tensors: Mapping[str, Tensor], values: Tensor) -> Tensor:
            if edge.operation in KERNELS:
                return named[_name(edge)].forward(tensors, values).relu()
            return avg_pool_rows(values, 3, stride=1, padding=1) if edge.operation == "avg_pool_3x3" else values

        def logits(tensors: Mapping[str, Tensor], images: Tensor) -> Tensor:
            nodes = [stem.forward(tensors, images).relu()]
            for head in range(1, edges[-1].head + 1):
                into = [edge for edge in edges if edge.head == head and edge.operation != "none"]
                terms = [along(edge, tensors, nodes[edge.tail]) for edge in into]
                nodes.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(nodes[0]))
            values = dense.forward(tensors, nodes[-1].mean((3, 4)))
            return values.relu() if self.logits_relu else values

        colours, height, width = info(self.data).shape
        return Network(self._layers(), logits, max(colours, self.width) * height * width, self.width)

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
        starts = starts_of(self._layers(), "normal", self.init_std, zero_bias=self.variant == "code")
        return conv_batch(self.network, starts, data, info(self.data), len(specs), self.batch_size)

    def _layers(self) -> tuple[ConvLayer | DenseLayer, ...]:
        return (*self._convolutions(), self._dense())

    def _convolutions(self) -> list[ConvLayer]:
        """The stem, then those of the cell."""

        def layer(name: str, inputs: int, kernel: int, depth: int) -> ConvLayer:
            return ConvLayer(name, inputs, self.width, kernel, padding=SAME, norm=self.norm, depth=depth)

        return [layer("stem", info(self.data).shape[0], 3, 0)] + [
            layer(_name(edge), self.width, KERNELS[edge.operation], edge.head)
            for edge in edges_of(self.cell)
            if edge.operation in KERNELS
        ]

    def _dense(self) -> DenseLayer:
        return DenseLayer("dense", self.width, info(self.data).classes, depth=edges_of(self.cell)[-1].head + 1)


def edges_of(cell: str) -> tuple[Edge, ...]:
    """The edges of a cell in the notation of NAS-Bench-201, by head and then as they are written.

    Raises:
        UserError: If it is not in this notation, or a node has no edge, two from one node, or one from a later node.
    """
    found: list[Edge] = []
    for head, node in enumerate(cell.split("+"), 1):
        inside = node.removeprefix("|").removesuffix("|")
        edges = [_edge(text, head, cell) for text in inside.split("|")]
        if node != f"|{inside}|" or len({edge.tail for edge in edges}) < len(edges):
            raise _bad(cell, node)
        found += edges
    return tuple(found)


def _edge(text: str, head: int, cell: str) -> Edge:
    operation, _, tail = text.partition("~")
    if operation not in OPERATIONS or tail not in map(str, range(head)):
        raise _bad(cell, text)
    return Edge(int(tail), head, operation)


def _bad(cell: str, part: str) -> UserError:
    operations = ", ".join(OPERATIONS)
    mend = f"{part!r} must be of the form |operation~node|..., nodes being earlier ones and operations {operations}"
    return UserError("setting nas-cell.cell is no cell of NAS-Bench-201", value=cell, mend=mend)


def _name(edge: Edge) -> str:
    return f"edge_{edge.tail}_{edge.head}"


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "nas-cifar": NamedTask(
            "nas-cell",
            {"data": "cifar10", "cell": NAS_CIFAR, "width": 16},
            "NAS-CIFAR of T: one cell, 16 wide",
            paper="T",
        ),
        "nas-cifar-small": NamedTask(
            "nas-cell",
            {"data": "digits", "cell": NAS_CIFAR, "width": 4},
            "NAS-CIFAR's cell, 4 wide, on digits",
            {"batch_size": 64},
            paper="T",
            twin_of="nas-cifar",
        ),
    }
)
