"""What classifiers of images by a residual network have in common: their data, their minibatches, their start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.chunked_batch import ChunkedBatch
from rayl2o.tasks.data import SPLITS, DataSet, info, load
from rayl2o.tasks.instances import normal_rows, require_same
from rayl2o.tasks.minibatch import draw_minibatch
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.specs import only_spec
from rayl2o.tasks.vision.image_augmentation import AUGMENTATION, NORMALISATION
from rayl2o.tasks.vision.residual_network import ResidualNetwork
from rayl2o.tasks.vision.torch_init import torch_rows

VARIANTS = ("paper", "code")
CODE_STD = 0.01
CHUNK_BYTES = 2**20
"""As many instances go through the network at a time as keep their largest images within this, one at least. Measured on one
thread at K = 8, gradients, against one instance at a time: 3 to 4 times as fast for the small twins; at 64 channels, where the
images of one instance are nearly as large already, 8 at a time would take 1.4 times as long."""


@dataclass(frozen=True)
class ImageClassifier(ABC):
    """A classifier of images by a residual network, with softmax cross entropy; only its start and its minibatches are random.

    Attributes:
        data: ``cifar10`` or ``cifar100`` (paper S), or another data set of images.
        batch_size: B, images per minibatch, drawn with replacement (the code of S shuffles each epoch instead).
        augment: Whether images are cropped and flipped at random, as S trains; they are normalised either way.
        split: ``train``, ``test`` or another of :data:`~rayl2o.tasks.data.SPLITS`.
        variant: How it starts: ``paper`` as torch initialises these layers, with batch norm at scale 1 and shift 0 (S says
            nothing else); ``code`` draws every coordinate from N(0, 0.01^2), the scales of batch norm too, which S's code does
            by overwriting the whole state (a bug for networks with batch norm, which then begin nearly dead).

    Raises:
        UserError: If a name is unknown, a number is not positive, or batch norm would see a single value per channel.
    """

    family: ClassVar[str]

    data: str = "cifar10"
    batch_size: int = 128
    augment: bool = True
    split: str = "train"
    variant: str = "paper"

    def __post_init__(self) -> None:
        if self.data not in NORMALISATION:
            raise unknown_name("data set of images", self.data, NORMALISATION)
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if self.variant not in VARIANTS:
            raise unknown_name("variant", self.variant, VARIANTS)
        require_within(f"{self.family}.batch_size", self.batch_size, 1)

    @property
    @abstractmethod
    def network(self) -> ResidualNetwork:
        """The network that these settings describe, for the channels and classes of ``data``."""

    @property
    def layout(self) -> Layout:
        """That of the network, in the order and by the names of its ``state_dict`` in torch; reads no data."""
        return self.network.layout

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> ChunkedBatch:
        """K classifiers on one copy of the data. Minibatches hold row numbers and how images are seen, no pixels.

        Raises:
            UserError: If a spec is not of this family with these settings, or the data cannot be read.
        """
        require_same(self, specs)
        network, layout = self.network, self.layout
        data = load(self.data, self.split, device=device, dtype=dtype)

        def losses(params: Tensor, batch: Tensor) -> Tensor:
            logits = network.logits(layout.unflatten(params), self._images(data, batch))
            return cross_entropy(logits.mT, data.labels[batch[..., 0]], reduction="none").mean(1)

        def start(seeds: Sequence[int]) -> Tensor:
            if self.variant == "code":
                return normal_rows(seeds, layout.size, CODE_STD).to(data.inputs)
            return torch_rows(layout, seeds, device, dtype)

        def draw(seeds: Sequence[int]) -> Tensor:
            example_bytes = data.inputs.shape[1] * data.inputs.element_size()
            rows = draw_minibatch(seeds, len(data.inputs), self.batch_size, example_bytes, device).rows().unsqueeze(-1)
            if not self.augment:
                return rows
            return torch.cat([rows, AUGMENTATION[self.data].draw(seeds, self.batch_size, device)], -1)

        peak = self.batch_size * network.peak(*info(self.data).shape[1:]) * data.inputs.element_size()
        return ChunkedBatch(layout, len(specs), losses, start, draw, max(1, CHUNK_BYTES // peak))

    def _images(self, data: DataSet, batch: Tensor) -> Tensor:
        """Normalised images ``[K, B, C, H, W]`` of a minibatch ``[K, B, 1 or 4]``: rows, then the draws of the augmentation."""
        rows = batch[..., 0]
        images = data.inputs[rows].reshape(*rows.shape, *info(self.data).shape)
        if self.augment:
            images = AUGMENTATION[self.data].apply(images, batch[..., 1:])
        return NORMALISATION[self.data].apply(images)

    def _require_statistics(self) -> None:
        """Batch norm needs two values per channel; called by a family once its own settings are known to be good."""
        height, width = self.network.sides(*info(self.data).shape[1:])[-1]
        if self.batch_size * height * width < 2:
            what = f"setting {self.family}.batch_size leaves batch norm one value per channel in the last layer"
            raise UserError(what, value=self.batch_size, mend="use 2 or more")
