from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from rayl2o.benchmark import residual_modules
from rayl2o.errors import UserError
from rayl2o.tasks.settings import from_settings
from rayl2o.tasks.vision.resnet import NAMED, ResNet
from tests.tasks.vision.network_oracle import assert_same_derivatives, assert_same_tensors, make, random_images

TRUE: Mapping[
    str, tuple[int, int, type[residual_modules.Basic] | type[residual_modules.Bottleneck], tuple[int, ...]]
] = {
    "resnet-18": (18, 11_173_962, residual_modules.Basic, (2, 2, 2, 2)),
    "resnet-50": (50, 23_520_842, residual_modules.Bottleneck, (3, 4, 6, 3)),
    "resnet-152": (152, 58_156_618, residual_modules.Bottleneck, (3, 8, 36, 3)),
}


def named(name: str, **settings: Any) -> ResNet:
    family = from_settings(ResNet, {**NAMED[name].defaults, **NAMED[name].fixed, **settings}, name)
    assert isinstance(family, ResNet)
    return family


@pytest.mark.parametrize("name", TRUE)
def test_true_sizes(name: str) -> None:
    """Names, shapes and counts of the public CIFAR form, without memory for a single weight."""
    depth, count, block, blocks = TRUE[name]
    family = named(name)
    assert (family.depth, family.layout.size, family.data) == (depth, count, "cifar10")
    module = make(lambda: residual_modules.ResNet(block, blocks, 64, 3), "meta")
    assert_same_tensors(family.network, module)
    assert max(family.layout.depths) == depth - 1
    params = torch.empty(1, count, device="meta")
    images = torch.empty(1, 2, 3, 32, 32, device="meta")
    assert family.network.logits(family.layout.unflatten(params), images).shape == (1, 2, 10)
    assert named(name, data="cifar100").layout.size == count + 90 * (family.layout.shapes[-2][1] + 1)


def test_other_depths_of_the_literature() -> None:
    assert (ResNet(blocks=(3, 4, 6, 3)).depth, ResNet(blocks=(3, 4, 6, 3)).layout.size) == (34, 21_282_122)
    family = ResNet(blocks=(3, 4, 23, 3), bottleneck=True)
    assert (family.depth, family.layout.size) == (101, 42_512_970)


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(("shape", "data"), [((3, 32, 32), "cifar10"), ((1, 8, 8), "digits")])
def test_it_is_the_network_of_torch(bottleneck: bool, shape: tuple[int, ...], data: str) -> None:
    module = make(
        lambda: residual_modules.ResNet(
            residual_modules.Bottleneck if bottleneck else residual_modules.Basic, (2, 1, 1), 3, shape[0]
        )
    )
    network = ResNet(data=data, blocks=(2, 1, 1), bottleneck=bottleneck, width=3).network
    assert_same_tensors(network, module)
    assert_same_derivatives(network, module, *random_images(shape, k=2, batch=4))


@pytest.mark.parametrize("name", ["resnet-small", "resnet-small-bottleneck"])
def test_twins_are_small_and_need_no_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    family = named(name)
    assert NAMED[name].twin_of in TRUE
    assert family.bottleneck == (TRUE[NAMED[name].twin_of][2] is residual_modules.Bottleneck)
    assert family.layout.size < 2_000
    tasks = family.build([family.sample(torch.Generator())])
    loss, _ = tasks.loss_and_grad(tasks.init_params([0]), tasks.draw_batch([0]))
    assert 1.5 < float(loss) < 3.5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"blocks": ()}, r"resnet\.blocks.*1 to 8 stages"),
        ({"blocks": (1,) * 9}, r"resnet\.blocks"),
        ({"blocks": (2, 0)}, r"resnet\.blocks"),
        ({"width": 0}, r"resnet\.width"),
        ({"batch_size": 0}, r"resnet\.batch_size"),
        ({"data": "digits", "batch_size": 1}, "one value per channel in the last layer"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ResNet(**bad)


def test_one_image_will_do_if_batch_norm_sees_enough_pixels() -> None:
    assert ResNet(data="cifar10", batch_size=1).network.sides(32, 32)[-1] == (4, 4)
