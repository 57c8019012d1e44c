"""MobileNetV2 in the CIFAR form, and small networks of the same make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from rayl2o.errors import UserError
from rayl2o.tasks.data import info
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.vision.image_classifier import ImageClassifier
from rayl2o.tasks.vision.residual_network import Block, ConvNorm, ResidualNetwork


@dataclass(frozen=True)
class MobileNetV2(ImageClassifier):
    """Classifier by inverted residual blocks with linear bottlenecks (Sandler et al. 2018), by default MobileNetV2 at width 1.

    The form for CIFAR of the public ``pytorch-cifar`` code, whose ResNets paper S uses (S names MobileNetV2; its code has none):
    the stem and the second stage have stride 1, ReLU stands for ReLU6, and a block of stride 1 that changes the channels has a
    1x1 convolution on its shortcut, where Sandler et al. add nothing. K instances run and use memory as those of
    :class:`~rayl2o.tasks.vision.resnet.ResNet`, at true size 20 MB an image (and 2.5 s a gradient of 128 images on one core).

    Attributes:
        stem: Channels after the first 3x3 convolution.
        channels: Of each stage's output.
        blocks: Blocks of each stage.
        strides: Of each stage's first block, 1 or 2.
        expansion: Channels inside a block per channel of its input; 1 in the first stage.
        head: Channels after the last 1x1 convolution.

    Raises:
        UserError: As :class:`ImageClassifier`, or if the stages do not fit together or a size is out of range.
    """

    family: ClassVar[str] = "mobilenet"

    stem: int = 32
    channels: tuple[int, ...] = (16, 24, 32, 64, 96, 160, 320)
    blocks: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)
    strides: tuple[int, ...] = (1, 1, 2, 2, 1, 2, 1)
    expansion: int = 6
    head: int = 1280

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("stem", self.stem), ("expansion", self.expansion), ("head", self.head)):
            require_within(f"{self.family}.{name}", value, 1)
        stages = (self.channels, self.blocks, self.strides)
        if not 1 <= len(self.channels) == len(self.blocks) == len(self.strides):
            mend = "give one number a stage in each, for 1 stage or more"
            raise UserError(f"settings {self.family}.channels, blocks and strides differ", value=stages, mend=mend)
        if min(*self.channels, *self.blocks) < 1 or not set(self.strides) <= {1, 2}:
            mend = "use channels and blocks of 1 or more, strides of 1 or 2"
            what = f"setting {self.family}.channels, blocks or strides is out of range"
            raise UserError(what, value=stages, mend=mend)
        self._require_statistics()

    @property
    def network(self) -> ResidualNetwork:
        """Stem, blocks, head and linear layer, by the names ``conv1``, ``layers.0.conv1``, ..., ``conv2``, ``linear``."""
        sizes = info(self.data)
        inputs = self.stem
        found = [Block((ConvNorm("conv1", "bn1", sizes.shape[0], inputs, 3),))]
        stages = zip(self.channels, self.blocks, self.strides, strict=True)
        for stage, (outputs, count, stride) in enumerate(stages):
            inside = self.expansion if stage else 1
            for index in range(count):
                name = f"layers.{len(found) - 1}"
                found.append(_block(name, inputs, inside * inputs, outputs, 1 if index else stride))
                inputs = outputs
        head = Block((ConvNorm("conv2", "bn2", inputs, self.head, 1),))
        return ResidualNetwork((*found, head), sizes.classes)


def _block(name: str, inputs: int, inside: int, outputs: int, stride: int) -> Block:
    """1x1 to ``inside`` channels, 3x3 depthwise, 1x1 to ``outputs`` without ReLU; a shortcut where the stride is 1."""
    path = (
        ConvNorm(f"{name}.conv1", f"{name}.bn1", inputs, inside, 1),
        ConvNorm(f"{name}.conv2", f"{name}.bn2", inside, inside, 3, stride, groups=inside),
        ConvNorm(f"{name}.conv3", f"{name}.bn3", inside, outputs, 1),
    )
    if stride != 1:
        return Block(path, shortcut=None, relu=False)
    if inputs == outputs:
        return Block(path, shortcut=(), relu=False)
    projection = ConvNorm(f"{name}.shortcut.0", f"{name}.shortcut.1", inputs, outputs, 1)
    return Block(path, shortcut=(projection,), relu=False)


_TRUE: Mapping[str, Any] = MappingProxyType(
    {
        "stem": 32,
        "channels": (16, 24, 32, 64, 96, 160, 320),
        "blocks": (1, 2, 3, 4, 3, 3, 1),
        "strides": (1, 1, 2, 2, 1, 2, 1),
        "expansion": 6,
        "head": 1280,
    }
)
_SMALL: Mapping[str, Any] = MappingProxyType(
    {"stem": 4, "channels": (4, 6, 8), "blocks": (1, 2, 1), "strides": (1, 2, 1), "expansion": 3, "head": 16}
)

NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "mobilenet-v2": NamedTask("mobilenet", _TRUE, "MobileNetV2 of S for CIFAR", paper="S"),
        "mobilenet-small": NamedTask(
            "mobilenet",
            _SMALL,
            "four inverted residual blocks of 4 to 8 channels",
            {"data": "digits", "batch_size": 32},
            twin_of="mobilenet-v2",
        ),
    }
)
