"""Rows of the law table: paper S's large image networks as ones of a few hundred to a thousand params, every kind of block."""

from __future__ import annotations

from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.vision.mobilenet import MobileNetV2
from rayl2o.tasks.vision.resnet import ResNet

ROWS: dict[str, TaskFamily] = {
    "resnet-small": ResNet(data="digits", blocks=(1, 1), width=4, batch_size=4),
    "resnet-bottleneck": ResNet(
        data="digits", blocks=(1,), bottleneck=True, width=2, batch_size=4, augment=False, split="test"
    ),
    "mobilenet": MobileNetV2(
        data="digits", stem=3, channels=(4, 4), blocks=(1, 2), strides=(2, 1), expansion=2, head=6, batch_size=4
    ),
}
