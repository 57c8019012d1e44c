"""Images as training sees them: a random crop, a random flip, normalised channels; a description, its draws and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from rayl2o.seeds import generator
from rayl2o.tasks.ranges import require_within


@dataclass(frozen=True)
class Augmentation:
    """A crop of the image's own size out of the image with a black border, then perhaps a mirror image.

    Attributes:
        padding: Width of the border in pixels; 0 leaves the image where it is.
        flip: Whether half of the images are mirrored left to right.

    Raises:
        UserError: If the padding is negative.
    """

    padding: int
    flip: bool

    def __post_init__(self) -> None:
        require_within("augmentation.padding", self.padding, 0)

    def draw(self, seeds: Sequence[int], size: int, device: torch.device | str = "cpu") -> Tensor:
        """How ``size`` images of each of K instances are seen, int64 ``[K, size, 3]``, row k from ``seeds[k]`` alone.

        Top and left edge of the crop in the padded image, 0..2*padding, and whether it is mirrored, 0 or 1. The draws have a
        purpose of their own: the same seed draws the same rows of the data set with and without them.
        """
        drawn = {seed: self._draw_one(seed, size) for seed in dict.fromkeys(seeds)}
        return torch.stack([drawn[seed] for seed in seeds]).to(device)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """The crops ``[K, B, C, H, W]`` of ``images [K, B, C, H, W]`` (values in [0, 1], border 0), all at once.

        Any leading axes will do, as long as ``draws [K, B, 3]`` has the same.
        """
        height, width = images.shape[-2:]
        top, left, flip = (draw.unsqueeze(-1) for draw in draws.unbind(-1))
        rows, columns = (torch.arange(n, device=images.device) for n in (height, width))
        rows = rows + top - self.padding
        columns = torch.where(flip == 1, width - 1 - columns, columns) + left - self.padding
        outside = _outside(rows, height).unsqueeze(-1) | _outside(columns, width).unsqueeze(-2)
        pixels = rows.clamp(0, height - 1).unsqueeze(-1) * width + columns.clamp(0, width - 1).unsqueeze(-2)
        index = pixels.flatten(-2).unsqueeze(-2).expand(*images.shape[:-2], -1)
        crops = images.flatten(-2).gather(-1, index).view_as(images)
        return crops.masked_fill_(outside.unsqueeze(-3), 0)

    def _draw_one(self, seed: int, size: int) -> Tensor:
        """int64 ``[size, 3]``."""
        rng = generator("augment", seed)
        edges = torch.randint(2 * self.padding + 1, (size, 2), generator=rng)
        flips = torch.randint(2 if self.flip else 1, (size, 1), generator=rng)
        return torch.cat([edges, flips], 1)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, on the scale 0..1.

    Attributes:
        mean, std: One number a channel; they are subtracted and divided by.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, images: Tensor) -> Tensor:
        """``images [..., C, H, W]`` with channels of about mean 0 and standard deviation 1."""
        mean, std = (images.new_tensor(values).reshape(-1, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std


_CIFAR100 = Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

AUGMENTATION: Mapping[str, Augmentation] = MappingProxyType(
    {
        "digits": Augmentation(padding=1, flip=False),
        "mnist": Augmentation(padding=2, flip=False),
        "fashion-mnist": Augmentation(padding=2, flip=True),
        "cifar10": Augmentation(padding=4, flip=True),
        "cifar100": Augmentation(padding=4, flip=True),
        "cifar100-coarse": Augmentation(padding=4, flip=True),
    }
)
"""By data set: CIFAR as in paper S (code); a border of at most an eighth elsewhere, and a mirrored digit is no digit."""

NORMALISATION: Mapping[str, Normalisation] = MappingProxyType(
    {
        "digits": Normalisation((0.3054,), (0.3762,)),
        "mnist": Normalisation((0.1307,), (0.3081,)),
        "fashion-mnist": Normalisation((0.2860,), (0.3530,)),
        "cifar10": Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        "cifar100": _CIFAR100,
        "cifar100-coarse": _CIFAR100,
    }
)
"""By data set, of its training images. CIFAR-10 as in paper S (code), whose deviations are the mean of each image's own, not
those of all pixels as elsewhere. The code of S has no CIFAR-100."""


def _outside(index: Tensor, size: int) -> Tensor:
    return (index < 0) | (index >= size)
