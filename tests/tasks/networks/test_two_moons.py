from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.networks.moons import moons
from rayl2o.tasks.networks.two_moons import NAMED, TwoMoons
from rayl2o.tasks.settings import from_settings


def build(k: int, family: TwoMoons, dtype: torch.dtype = torch.float64) -> TaskBatch:
    return family.build([family.sample(torch.Generator())] * k, dtype=dtype)


def linear_layers(params: Tensor, family: TwoMoons) -> list[torch.nn.Linear]:
    """One row of params as torch modules."""
    layers = []
    tensors = family.layout.unflatten(params)
    for i in range(len(family.hidden) + 1):
        weight, bias = tensors[f"layer_{i}.weight"], tensors[f"layer_{i}.bias"]
        layer = torch.nn.Linear(weight.shape[0], weight.shape[1], dtype=params.dtype)
        layer.load_state_dict({"weight": weight.T.clone(), "bias": bias.clone()})
        layers.append(layer)
    return layers


def logits(layers: list[torch.nn.Linear], inputs: Tensor) -> Tensor:
    values = inputs
    for layer in layers[:-1]:
        values = torch.tanh(layer(values))
    top: Tensor = layers[-1](values)
    return top.squeeze(1)


def test_the_published_size() -> None:
    assert TwoMoons().layout.size == 8577
    assert from_settings(TwoMoons, NAMED["two-moons-small"].fixed, "two-moons-small").layout.size == 337
    assert NAMED["two-moons"].paper == "R"
    assert NAMED["two-moons-small"].twin_of == "two-moons"


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_it_is_a_torch_module_with_logistic_loss(variant: str) -> None:
    family = TwoMoons(hidden=(6, 5), points=50, variant=variant)
    tasks = build(3, family)
    x = tasks.init_params([4, 5, 6])
    inputs, labels = (torch.from_numpy(array) for array in moons(50, 0.1, 0))
    losses, grads = tasks.loss_and_grad(x, None)
    for k in range(3):
        layers = linear_layers(x[k], family)
        theta = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
        loss = torch.nn.BCEWithLogitsLoss()(logits(layers, inputs), labels.double())
        if variant == "code":
            loss = loss + 5e-3 * torch.cat([parameter.flatten() for parameter in theta]).norm()
        torch.testing.assert_close(losses[k], loss.detach(), rtol=1e-12, atol=0)
        expected = torch.autograd.grad(loss, theta)
        found = family.layout.unflatten(grads[k]).values()
        for slope, one in zip(found, expected, strict=True):
            torch.testing.assert_close(slope, one.T if one.dim() == 2 else one, rtol=1e-10, atol=1e-14)


def test_true_size_in_parts_is_one_by_one() -> None:
    family = TwoMoons(points=256)
    tasks, alone = build(6, family, torch.float32), build(1, family, torch.float32)
    x = tasks.init_params(range(6))
    losses, grads = tasks.loss_and_grad(x, None)
    for k in (0, 5):
        loss, grad = alone.loss_and_grad(x[k : k + 1], None)
        torch.testing.assert_close(losses[k : k + 1], loss, rtol=1e-6, atol=0)
        torch.testing.assert_close(grads[k : k + 1], grad, rtol=1e-4, atol=1e-7)


def test_gradient_descent_separates_the_moons() -> None:
    family = TwoMoons(hidden=(16, 16), points=128)
    tasks = build(2, family, torch.float32)
    x = tasks.init_params([0, 1])
    for _ in range(400):
        x = x - 1.0 * tasks.loss_and_grad(x, None)[1]
    assert tasks.loss(x, None).max() < 0.1
    inputs, labels = moons(128, 0.1, 0)
    found = logits(linear_layers(x[0], family), torch.from_numpy(inputs).float())
    right = (found > 0) == torch.from_numpy(labels == 1)
    assert right.double().mean() > 0.97


def test_every_setting_arrives() -> None:
    base = TwoMoons(hidden=(3,), points=20)
    x = build(1, base).init_params([0])
    losses = {
        float(build(1, family).loss(x, None))
        for family in (
            base,
            TwoMoons(hidden=(3,), points=21),
            TwoMoons(hidden=(3,), points=20, noise=0.2),
            TwoMoons(hidden=(3,), points=20, data_seed=1),
            TwoMoons(hidden=(3,), points=20, variant="code"),
        )
    }
    assert len(losses) == 5
    settings = {"hidden": [3], "points": 20, "noise": 0.1, "data_seed": 0, "variant": "paper"}
    assert base.sample(torch.Generator()) == TaskSpec("two-moons", settings)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"hidden": (4, 0)}, "two-moons.hidden"),
        ({"points": 1}, "two-moons.points"),
        ({"noise": -0.1}, "two-moons.noise"),
        ({"data_seed": -1}, "two-moons.data_seed"),
        ({"variant": "notebook"}, "unknown variant of two-moons"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TwoMoons(**bad)
