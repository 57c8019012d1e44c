"""K small convolutional classifiers of one data set side by side, as many at a time as are fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rayl2o.errors import UserError
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.data import DataInfo, DataSet
from rayl2o.tasks.initial import Start, start_rows
from rayl2o.tasks.minibatch import draw_minibatch
from rayl2o.tasks.subset import Subsets
from rayl2o.tasks.vision.layers import Layer, layout_of

CHUNK_BYTES = 2 * 2**20
LANES = 16
"""As many instances go through a network at a time as keep their largest images within :data:`CHUNK_BYTES`, but at least so many
that the narrowest images have :data:`LANES` channels side by side, a vector of float32.

Measured on one core (CPU time of gradients, against one instance at a time): the small twins are 3 to 14 times as fast, 28 to 64
at a time; LeNet and ``s-cnn``, 6 channels wide, 1.4 times (3 at a time). Conv-MNIST and NAS-CIFAR, 16 wide and large, gain
nothing from 2 at a time, and 16 would take 1.8 times as long: images leave the cache, and fresh pages cost more than sums."""
MOST_FOR_LANES = 8


@dataclass(frozen=True)
class Network:
    """A classifier of images.

    Attributes:
        layers: All that have params, in the order of the layout.
        logits: ``(tensors [K, ...] by name, images [K, B, C, H, W])`` to ``[K, B, classes]``, twice differentiable.
        peak: Numbers in the largest images of one example, inputs included.
        narrowest: Channels of the narrowest images but the inputs.
    """

    layers: tuple[Layer, ...]
    logits: Callable[[Mapping[str, Tensor], Tensor], Tensor]
    peak: int
    narrowest: int

    def chunk(self, batch_size: int, itemsize: int) -> int:
        """Instances at a time, for minibatches of ``batch_size`` images in numbers of ``itemsize`` bytes."""
        fitting = CHUNK_BYTES // (self.peak * batch_size * itemsize)
        return max(fitting, min(-(-LANES // self.narrowest), MOST_FOR_LANES))


def conv_batch(
    network: Network,
    starts: Sequence[Start],
    data: DataSet,
    sizes: DataInfo,
    k: int,
    batch_size: int,
    kept: Sequence[int] = (),
) -> ChunkedBatch:
    """K instances of a network on one copy of the data; losses in nats per example, averaged over the minibatch.

    Args:
        network: With as many logits as there are classes kept.
        starts: One per tensor.
        data: What minibatches are drawn from; its dtype is that of params.
        sizes: Of ``data``.
        k: Number of instances.
        batch_size: B, drawn with replacement.
        kept: Classes of which examples are drawn, numbered anew in this order; empty for all.

    Raises:
        UserError: If the data have no example of these classes.
    """
    layout, inputs, labels, subsets = layout_of(network.layers), data.inputs, data.labels, None
    if kept:
        among = torch.isin(labels, labels.new_tensor(kept)).nonzero().squeeze(1).cpu()
        if not len(among):
            raise UserError("the split has no example of the classes", value=kept, mend="choose others")
        subsets = Subsets((0,) * k, {0: among})
        number = labels.new_zeros(data.classes)
        number[list(kept)] = torch.arange(len(kept), device=labels.device)
        labels = number[labels]

    def losses(params: Tensor, rows: Tensor) -> Tensor:
        images = torch.embedding(inputs, rows).unflatten(-1, sizes.shape)  # type: ignore[no-untyped-call]
        logits = network.logits(layout.unflatten(params), images)
        return cross_entropy(logits.mT, labels[rows], reduction="none").mean(1)

    def start(seeds: Sequence[int]) -> Tensor:
        return start_rows(seeds, layout, starts, device=inputs.device, dtype=inputs.dtype)

    def draw(seeds: Sequence[int]) -> Tensor:
        examples = len(inputs) if subsets is None else len(subsets.rows[0])
        example_bytes = inputs.shape[1] * inputs.element_size()
        return draw_minibatch(seeds, examples, batch_size, example_bytes, inputs.device, subsets).rows()

    return ChunkedBatch(layout, k, losses, start, draw, network.chunk(batch_size, inputs.element_size()))
