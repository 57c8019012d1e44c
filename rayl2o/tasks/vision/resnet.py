"""Residual networks in the CIFAR form of paper S: ResNet-18, -50 and -152, and small ones of the same make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from rayl2o.errors import UserError
from rayl2o.tasks.data import info
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.vision.image_classifier import ImageClassifier
from rayl2o.tasks.vision.residual_network import Block, ConvNorm, ResidualNetwork

EXPANSION = 4


@dataclass(frozen=True)
class ResNet(ImageClassifier):
    """Classifier by residual network (He et al. 2015): a 3x3 stem of stride 1, stages that double channels and halve sides.

    The form for CIFAR that paper S uses (the public ``pytorch-cifar`` code): no pooling after the stem, strides 1-2-2-2, the mean
    over the last 4x4 pixels. Small instances go through the network side by side, large ones one after another, so that K of them
    need the memory of one. That is, in float32, 8 bytes a coordinate for params and gradient, and per CIFAR image of a minibatch
    what the backward pass reads again: 9 MB for ResNet-18, 30 MB for ResNet-50; a Hessian-vector product needs two to four times
    that. (Measured on one core with 128 images: a gradient takes 4 s and 13 s.)

    Attributes:
        blocks: Residual blocks in each of 1 to 8 stages.
        bottleneck: Blocks of 1x1, 3x3 and 1x1 with four times the channels at their end, else of two 3x3.
        width: Channels of the stem and of the first stage.

    Raises:
        UserError: As :class:`ImageClassifier`, or if ``blocks`` or ``width`` is out of range.
    """

    family: ClassVar[str] = "resnet"

    blocks: tuple[int, ...] = (2, 2, 2, 2)
    bottleneck: bool = False
    width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.blocks) <= 8 or min(self.blocks) < 1:
            mend = "use 1 to 8 stages of 1 block or more"
            raise UserError("setting resnet.blocks is out of range", value=self.blocks, mend=mend)
        require_within("resnet.width", self.width, 1)
        self._require_statistics()

    @property
    def depth(self) -> int:
        """Layers with weights along the main path, by which these networks are named."""
        return 2 + (3 if self.bottleneck else 2) * sum(self.blocks)

    @property
    def network(self) -> ResidualNetwork:
        """Stem, stages and linear layer, by the names ``conv1``, ``layer1.0.conv1``, ..., ``linear``."""
        sizes = info(self.data)
        inputs = self.width
        found = [Block((ConvNorm("conv1", "bn1", sizes.shape[0], inputs, 3),))]
        for stage, count in enumerate(self.blocks):
            channels = self.width * 2**stage
            for index in range(count):
                stride = 2 if stage and not index else 1
                found.append(self._block(f"layer{stage + 1}.{index}", inputs, channels, stride))
                inputs = found[-1].path[-1].outputs
        return ResidualNetwork(tuple(found), sizes.classes)

    def _block(self, name: str, inputs: int, channels: int, stride: int) -> Block:
        """A block with a convolution on its shortcut wherever the shape changes."""
        if self.bottleneck:
            outputs = EXPANSION * channels
            # The stride is at the 3x3, as in S's code; He et al. put it at the first 1x1.
            plan = [(inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1)]
        else:
            outputs = channels
            plan = [(inputs, channels, 3, stride), (channels, outputs, 3, 1)]
        path = tuple(ConvNorm(f"{name}.conv{i}", f"{name}.bn{i}", *sizes) for i, sizes in enumerate(plan, 1))
        if stride == 1 and inputs == outputs:
            return Block(path, shortcut=())
        projection = ConvNorm(f"{name}.shortcut.0", f"{name}.shortcut.1", inputs, outputs, 1, stride)
        return Block(path, shortcut=(projection,))


def _true(blocks: tuple[int, ...], bottleneck: bool, summary: str) -> NamedTask:
    return NamedTask("resnet", {"blocks": blocks, "bottleneck": bottleneck, "width": 64}, summary, paper="S")


def _twin(bottleneck: bool, width: int, summary: str, twin_of: str) -> NamedTask:
    fixed = {"blocks": (1, 1), "bottleneck": bottleneck, "width": width}
    return NamedTask("resnet", fixed, summary, {"data": "digits", "batch_size": 32}, twin_of=twin_of)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "resnet-18": _true((2, 2, 2, 2), False, "ResNet-18 of S for CIFAR"),
        "resnet-50": _true((3, 4, 6, 3), True, "ResNet-50 of S for CIFAR"),
        "resnet-152": _true((3, 8, 36, 3), True, "ResNet-152 of S for CIFAR"),
        "resnet-small": _twin(False, 4, "ResNet-6, two stages of one basic block, 4 and 8 channels", "resnet-18"),
        "resnet-small-bottleneck": _twin(
            True, 3, "ResNet-8, two stages of one bottleneck, 3 and 6 channels; twin of ResNet-152 too", "resnet-50"
        ),
    }
)
