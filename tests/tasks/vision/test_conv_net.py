from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rayl2o.benchmark.conv_modules import conv_net_module
from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.settings import from_settings
from rayl2o.tasks.vision.conv_net import NAMED, ConvNet
from tests.tasks.vision.module_oracle import assert_is_module

TRUE = {"conv-mnist": 18_122, "conv-cifar": 13_610, "lenet": 62_232, "mnist-cnn": 82_250, "s-cnn": 2_993}
"""As published, or counted in the code; LeNet with the 226 shifts of its batch norm."""


def named(name: str, **settings: Any) -> ConvNet:
    family = from_settings(ConvNet, {**NAMED[name].defaults, **NAMED[name].fixed, **settings}, name)
    assert isinstance(family, ConvNet)
    return family


@pytest.mark.parametrize("name", TRUE)
def test_true_sizes_need_no_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    family = named(name)
    assert family.layout.size == TRUE[name]
    assert family.data == ("mnist" if "mnist" in name else "cifar10")
    assert family.batch_size == (100 if name == "mnist-cnn" else 128)
    with pytest.raises(UserError, match="RAYL2O_DATA"):
        family.build([family.sample(torch.Generator())])


def test_scale_and_shift_of_batch_norm_are_params_if_asked_for() -> None:
    assert named("conv-mnist", norm="affine").layout.size == 18_122 + 2 * 48
    assert named("conv-cifar", norm="shift").layout.size == 13_610 + 48


@pytest.mark.parametrize("name", TRUE)
def test_true_networks_are_those_of_torch(name: str) -> None:
    assert_is_module(named(name), conv_net_module(named(name)))


@pytest.mark.parametrize("norm", ["none", "plain", "shift", "affine"])
@pytest.mark.parametrize(
    "shape",
    [
        {"hidden": (7, 5), "activation": "tanh"},
        {"padding": "same", "strides": (2, 1), "pools": (1, 2), "activation": "softplus", "logits_relu": True},
        {"padding": "same", "strides": (2,), "kernels": (2,), "pools": (1,), "activation": "sigmoid"},
        {"channels": (3, 4, 2), "kernels": (3,), "pools": (1,), "activation": "elu", "classes": (5, 0)},
    ],
)
def test_any_network_is_that_of_torch(shape: dict[str, Any], norm: str) -> None:
    family = ConvNet(norm=norm, **shape)
    assert_is_module(family, conv_net_module(family), k=3)


def test_names_and_depths_of_the_layout() -> None:
    layout = ConvNet(norm="shift", hidden=(6,)).layout
    assert layout.names == (
        *("conv_0.weight", "conv_0.bias", "conv_0.shift", "conv_1.weight", "conv_1.bias", "conv_1.shift"),
        *("dense_0.weight", "dense_0.bias", "dense_0.shift", "dense_1.weight", "dense_1.bias"),
    )
    assert layout.depths == (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3)
    assert layout.shapes[0] == (8, 1, 3, 3)


def test_sampling_draws_nothing() -> None:
    rng = torch.Generator().manual_seed(1)
    before = rng.get_state()
    spec = ConvNet(classes=(1, 2)).sample(rng)
    assert torch.equal(rng.get_state(), before)
    assert spec.settings["classes"] == [1, 2]
    assert ConvNet().sample(rng).seed == 0


def test_where_text_and_code_start() -> None:
    settings = {"norm": "affine", "init_std": 0.2}
    starts = {}
    for variant in ("paper", "code"):
        family = ConvNet(variant=variant, **settings)  # type: ignore[arg-type]
        tensors = family.layout.unflatten(family.build([family.sample(torch.Generator())]).init_params([0]))
        assert abs(float(tensors["conv_1.weight"].std()) - 0.2) < 0.02
        assert torch.equal(tensors["conv_1.scale"], torch.ones(1, 16))
        assert torch.equal(tensors["conv_1.shift"], torch.zeros(1, 16))
        starts[variant] = tensors["conv_1.bias"]
    assert 0.1 < float(starts["paper"].std()) < 0.3
    assert torch.equal(starts["code"], torch.zeros(1, 16))


def test_dead_logits_stand_still_at_the_level_of_the_papers_figure() -> None:
    """ln ln 10 = 0.834 in T's figure of Conv-CIFAR."""
    family = named("conv-cifar-small")
    tasks = family.build([family.sample(torch.Generator())])
    params = tasks.init_params([0])
    params[:, -10:] = -10.0
    loss, grad = tasks.loss_and_grad(params, tasks.draw_batch([0]))
    assert abs(math.log(float(loss)) - 0.834) < 1e-3
    assert not grad.any()


@pytest.mark.parametrize("name", [name for name, task in NAMED.items() if task.twin_of])
def test_twins_are_small_of_the_same_make_and_need_no_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    small, whole = named(name), named(NAMED[name].twin_of)
    for setting in ("activation", "norm", "logits_relu", "start", "variant", "classes"):
        assert getattr(small, setting) == getattr(whole, setting)
    assert len(small.channels) == len(whole.channels)
    assert len(small.hidden) == len(whole.hidden)
    assert small.layout.size < 2_000
    tasks = small.build([small.sample(torch.Generator())] * 2)
    losses, _ = tasks.loss_and_grad(tasks.init_params([0, 1]), tasks.draw_batch([0, 1]))
    expected = math.log(len(small.classes) or 10)
    assert ((losses - expected).abs() < (1.0 if small.start == "glorot" else 0.05)).all()


def test_halves_of_the_classes() -> None:
    a, b = named("s-cnn"), named("s-cnn", classes=(5, 6, 7, 8, 9))
    assert a.classes == (0, 1, 2, 3, 4)
    assert a.layout == b.layout
    assert a.layout.shapes[-2] == (432, 5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "mnits"}, "did you mean 'mnist'"),
        ({"padding": "sane"}, "did you mean 'same'"),
        ({"activation": "reul"}, "did you mean 'relu'"),
        ({"norm": "batch"}, "unknown norm"),
        ({"start": "xavier"}, "unknown start"),
        ({"variant": "text"}, "unknown variant"),
        ({"split": "valid"}, "unknown split"),
        ({"channels": ()}, "conv-net.channels is empty"),
        ({"channels": (0, 3)}, "conv-net.channels is out of range.*1 or more"),
        ({"pools": (0,)}, "conv-net.pools is out of range"),
        ({"kernels": (3, 3, 3)}, "conv-net.kernels has a wrong length.*2 convolutions"),
        ({"strides": ()}, "conv-net.strides has a wrong length"),
        ({"kernels": (5, 5), "pools": (1,)}, "too small for convolution 1.*got 4"),
        ({"pools": (9, 1), "padding": "same"}, "too small for convolution 0"),
        ({"classes": (3, 3)}, "conv-net.classes is bad.*0..9"),
        ({"classes": (3, 10)}, "conv-net.classes is bad"),
        ({"batch_size": 0}, "conv-net.batch_size is out of range"),
        ({"batch_size": 1, "norm": "plain"}, "conv-net.batch_size is out of range.*2 or more"),
        ({"init_std": -1.0}, "conv-net.init_std"),
        ({"hidden": (0,)}, "conv-net.hidden"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ConvNet(**bad)


def test_other_settings_are_refused_in_a_build() -> None:
    with pytest.raises(UserError, match="different settings"):
        ConvNet().build([TaskSpec("conv-net", {"channels": [3, 4]})])
