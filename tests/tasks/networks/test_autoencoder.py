from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from rayl2o.errors import UserError
from rayl2o.tasks.data import load
from rayl2o.tasks.networks.autoencoder import NAMED, Autoencoder


@pytest.mark.parametrize("objective", ["bernoulli", "squared"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_it_is_torchs_own_network(objective: str, activation: str) -> None:
    family = Autoencoder(widths=(7, 5, 3), activation=activation, objective=objective, batch_size=9)
    tasks = family.build([family.sample(torch.Generator())] * 3, dtype=torch.float64)
    params, batch = tasks.init_params([1, 2, 3]), tasks.draw_batch([4, 5, 6])
    loss, grad = tasks.loss_and_grad(params, batch)
    inputs = load("digits", dtype=torch.float64).inputs
    between = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    for k in range(3):
        linear = [nn.Linear(i, o).double() for i, o in ((64, 7), (7, 5), (5, 3), (3, 5), (5, 7), (7, 64))]
        code, output = linear[2], linear[5]
        parts = [part for layer in linear for part in ([layer] if layer in (code, output) else [layer, between()])]
        network, tensors = nn.Sequential(*parts), tasks.layout.unflatten(params[k])
        with torch.no_grad():
            for i, layer in enumerate(linear):
                layer.weight.copy_(tensors[f"layer_{i}.weight"].T)
                layer.bias.copy_(tensors[f"layer_{i}.bias"])
        images = inputs[batch.rows()[k]]
        error = binary_cross_entropy_with_logits if objective == "bernoulli" else mse_loss
        expected = error(network(images), images)
        torch.testing.assert_close(loss[k], expected.detach(), rtol=1e-12, atol=0)
        slopes = torch.autograd.grad(expected, [p for layer in linear for p in (layer.weight, layer.bias)])
        own = torch.cat([slope.T.flatten() if slope.dim() == 2 else slope for slope in slopes])
        torch.testing.assert_close(grad[k], own, rtol=1e-10, atol=1e-15)


def test_layout_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    layout = Autoencoder(data="mnist", widths=(20, 5)).layout
    assert layout.shapes == ((784, 20), (20,), (20, 5), (5,), (5, 20), (20,), (20, 784), (784,))
    assert Autoencoder(widths=(3,)).layout.shapes == ((64, 3), (3,), (3, 64), (64,))


def test_the_deep_one_is_that_of_the_papers() -> None:
    deep, small = (Autoencoder(**{**named.defaults, **named.fixed}) for named in NAMED.values())
    assert deep.layout.size == 2_837_314
    weights = [shape for shape in deep.layout.shapes if len(shape) == 2]
    assert [shape[0] for shape in weights] == [784, 1000, 500, 250, 30, 250, 500, 1000]
    assert small.data == "digits"


def test_the_start_predicts_about_one_half() -> None:
    family = Autoencoder(batch_size=200)
    tasks = family.build([family.sample(torch.Generator())])
    loss, _ = tasks.loss_and_grad(tasks.init_params([0]), tasks.draw_batch([0]))
    assert abs(loss.item() - math.log(2)) < 0.15


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "mnits"}, "did you mean 'mnist'"),
        ({"activation": "reul"}, "did you mean 'relu'"),
        ({"objective": "mse"}, "unknown objective"),
        ({"split": "valid"}, "unknown split"),
        ({"widths": ()}, r"autoencoder\.widths is out of range"),
        ({"widths": (5, 0)}, r"autoencoder\.widths"),
        ({"batch_size": 0}, r"autoencoder\.batch_size"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Autoencoder(**bad)
