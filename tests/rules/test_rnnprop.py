"""RNNprop against its equations and against Adam."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, State
from rayl2o.rules.classic import Adam
from rayl2o.rules.registry import make
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.seeds import generator


def test_sizes_of_the_published_networks() -> None:
    full, small = RnnProp().init_phi(generator("rp")), make("rnnprop-small", {}).init_phi(generator("rp"))
    assert sum(weight.numel() for weight in full.values()) == 6641
    assert sum(weight.numel() for weight in small.values()) == 446 - 28  # torch counts two biases per gate
    assert (full["input_projection.w"].shape, full["lstm_1.w_gates"].shape) == ((2, 20), (40, 80))
    assert RnnProp().state_size == 82


class _Probe:
    """Replaces the network by one of its features, to see them from outside."""

    def __init__(self, index: int) -> None:
        self.index = index

    def step(
        self, phi: object, features: list[Tensor], state: Tensor, carried: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        return features[self.index], torch.cat((torch.stack(carried), state))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_features_are_adams_normalised_moments(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, adam = RnnProp(), Adam(lr=1.0, beta1=0.95, beta2=0.95)
    layout = Layout.flat(6)
    grads = torch.randn(30, 1, 6, generator=generator("grads"), dtype=dtype) * torch.logspace(-6, 1, 6, dtype=dtype)
    grads[:, :, 2] = 0.0
    for index in (0, 1):
        monkeypatch.setattr(RnnProp, "network", _Probe(index))
        state: State = {"coord": torch.zeros(1, 6, 3, dtype=dtype)}
        adam_state = adam.init_state({}, layout, 1, dtype)
        for t, grad in enumerate(grads):
            inputs = Inputs(grad, torch.tensor(t))
            delta, state = rule.update({}, inputs, state)
            adam_delta, adam_state = adam.update({}, inputs, adam_state)
            v = adam_state["coord"][..., 1] / (1.0 - 0.95 ** (t + 1))
            feature = (-adam_delta, grad / (v.sqrt() + 1e-8))[index]
            torch.testing.assert_close(delta, 0.01 * torch.tanh(feature), rtol=1e-5, atol=1e-9)
            assert torch.equal(state["coord"][..., :2], adam_state["coord"])


def test_a_displacement_is_at_most_the_output_scale() -> None:
    rule = RnnProp(projection=3, hidden=(3,), output_scale=0.02)
    phi = {name: 50.0 * weight for name, weight in rule.init_phi(generator("rp")).items()}
    state = rule.init_state(phi, Layout.flat(100), 1)
    delta, _ = rule.update(phi, Inputs(torch.randn(1, 100, generator=generator("g")), torch.tensor(0)), state)
    assert 0.015 < float(delta.abs().max()) <= 0.02


def test_the_step_count_is_that_of_the_trajectory() -> None:
    rule = RnnProp(projection=3, hidden=(3,))
    phi = rule.init_phi(generator("rp"))
    state = rule.init_state(phi, Layout.flat(5), 1)
    grad = torch.randn(1, 5, generator=generator("g"))
    fresh, late = (rule.update(phi, Inputs(grad, torch.tensor(t)), state)[0] for t in (0, 1000))
    assert not torch.allclose(fresh, late)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"projection": 0}, "widths must be positive"),
        ({"hidden": ()}, "widths must be positive"),
        ({"beta1": 1.0}, "beta1 out of range"),
        ({"beta2": -0.1}, "beta2 out of range"),
        ({"eps": 0.0}, "eps out of range"),
        ({"output_scale": math.nan}, "output_scale out of range"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RnnProp(**settings)  # type: ignore[arg-type]
