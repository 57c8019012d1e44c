"""Rows of the law table: small convolutional networks with every kind of batch norm, padding, pooling and start, and NAS cells.

The rows are small so that no ReLU switches between two points of a difference: with a few thousand units per instance, one would.
"""

from __future__ import annotations

from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.vision.conv_net import ConvNet
from rayl2o.tasks.vision.nas_cell import NASCell

ROWS: dict[str, TaskFamily] = {
    "conv-net": ConvNet(channels=(4, 6), batch_size=4),
    "conv-net-t": ConvNet(
        channels=(3, 5), kernels=(3,), strides=(2,), pools=(2, 1), padding="same", norm="plain", batch_size=4
    ),
    "conv-net-code": ConvNet(
        channels=(4, 6), activation="tanh", norm="affine", logits_relu=True, variant="code", init_std=0.3, batch_size=4
    ),
    "conv-net-lenet": ConvNet(channels=(4, 5), hidden=(5, 4), activation="sigmoid", norm="shift", batch_size=4),
    "conv-net-glorot": ConvNet(
        channels=(3, 3), kernels=(3,), pools=(1,), start="glorot", classes=(7, 2, 4), batch_size=4, split="test"
    ),
    "nas-cell": NASCell(width=3, norm="affine", logits_relu=False, batch_size=2),
    "nas-cell-other": NASCell(
        cell="|avg_pool_3x3~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~2|",
        width=4,
        norm="none",
        init_std=0.3,
        variant="code",
        batch_size=3,
    ),
}
