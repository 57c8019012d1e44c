from __future__ import annotations

from typing import Any

import pytest
import torch

from rayl2o.benchmark import residual_modules
from rayl2o.errors import UserError
from rayl2o.tasks.settings import from_settings
from rayl2o.tasks.vision.mobilenet import NAMED, MobileNetV2
from tests.tasks.vision.network_oracle import assert_same_derivatives, assert_same_tensors, make, random_images

STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def named(name: str, **settings: Any) -> MobileNetV2:
    family = from_settings(MobileNetV2, {**NAMED[name].defaults, **NAMED[name].fixed, **settings}, name)
    assert isinstance(family, MobileNetV2)
    return family


def test_true_size() -> None:
    """Names, shapes and count of the public CIFAR form, without memory for a single weight."""
    family = named("mobilenet-v2")
    assert family == MobileNetV2()
    assert family.layout.size == 2_296_922
    assert_same_tensors(family.network, make(lambda: residual_modules.MobileNetV2(32, STAGES, 1280, 3), "meta"))
    params = torch.empty(1, family.layout.size, device="meta")
    images = torch.empty(1, 2, 3, 32, 32, device="meta")
    assert family.network.logits(family.layout.unflatten(params), images).shape == (1, 2, 10)
    assert family.network.sides(32, 32)[-1] == (4, 4)
    assert named("mobilenet-v2", data="cifar100").layout.size == 2_296_922 + 90 * 1281


@pytest.mark.parametrize(("shape", "data"), [((3, 32, 32), "cifar10"), ((1, 8, 8), "digits")])
def test_it_is_the_network_of_torch(shape: tuple[int, ...], data: str) -> None:
    """With blocks of every kind: no shortcut, the input itself, a convolution of it."""
    stages = ((1, 4, 1, 1), (2, 5, 2, 2), (2, 6, 1, 1))
    module = make(lambda: residual_modules.MobileNetV2(3, stages, 8, shape[0]))
    network = MobileNetV2(
        data=data, stem=3, channels=(4, 5, 6), blocks=(1, 2, 1), strides=(1, 2, 1), expansion=2, head=8
    ).network
    assert_same_tensors(network, module)
    assert_same_derivatives(network, module, *random_images(shape, k=2, batch=4))


def test_the_twin_is_small_and_needs_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    family = named("mobilenet-small")
    assert family.layout.size < 2_000
    tasks = family.build([family.sample(torch.Generator())])
    loss, _ = tasks.loss_and_grad(tasks.init_params([0]), tasks.draw_batch([0]))
    assert 1.5 < float(loss) < 3.5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"channels": (16,)}, "channels, blocks and strides differ"),
        ({"channels": (), "blocks": (), "strides": ()}, "for 1 stage or more"),
        ({"strides": (1, 1, 2, 2, 1, 3, 1)}, "strides of 1 or 2"),
        ({"blocks": (1, 2, 3, 0, 3, 3, 1)}, "blocks of 1 or more"),
        ({"stem": 0}, r"mobilenet\.stem"),
        ({"expansion": 0}, r"mobilenet\.expansion"),
        ({"head": -1}, r"mobilenet\.head"),
        ({"data": "digits", "batch_size": 1}, "one value per channel"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MobileNetV2(**bad)
