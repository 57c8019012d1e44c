"""L2O-DM against its equations."""

from __future__ import annotations

import math

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.dm import DM
from rayl2o.seeds import generator


def test_size_of_the_published_network() -> None:
    phi = DM().init_phi(generator("dm"))
    assert sum(weight.numel() for weight in phi.values()) == 5141
    assert {name: tuple(weight.shape) for name, weight in phi.items()} == {
        "lstm_1.w_gates": (22, 80), "lstm_1.b_gates": (80,), "lstm_2.w_gates": (40, 80), "lstm_2.b_gates": (80,),
        "linear.w": (20, 1), "linear.b": (1,),
    }  # fmt: skip


def test_one_step_by_hand() -> None:
    rule = DM(preprocess_k=5.0, hidden=(1,), output_scale=0.5)
    phi = {
        "lstm_1.w_gates": torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.0, 0.0, 0.0, 0.0]]),
        "lstm_1.b_gates": torch.tensor([0.1, 0.0, -0.1, 0.2]),
        "linear.w": torch.tensor([[2.0]]),
        "linear.b": torch.tensor([0.3]),
    }
    state = {"coord": torch.tensor([[[0.0, 0.5]]])}
    a, b = math.log(0.2 + 1.1920929e-07) / 5.0, -1.0
    i, j, f, o = (0.1 * n * a + (0.4 + 0.1 * n) * b for n in (1, 2, 3, 4))
    c = 0.5 / (1 + math.exp(-(f - 0.1 + 1.0))) + math.tanh(j) / (1 + math.exp(-(i + 0.1)))
    h = math.tanh(c) / (1 + math.exp(-(o + 0.2)))
    delta, new = rule.update(phi, Inputs(torch.tensor([[-0.2]]), torch.tensor(7)), state)
    assert delta.item() == pytest.approx(0.5 * (2.0 * h + 0.3), rel=1e-6)
    assert new["coord"].flatten().tolist() == pytest.approx([h, c], rel=1e-6)


def test_the_step_count_does_not_matter() -> None:
    rule = DM(hidden=(3,))
    phi = rule.init_phi(generator("dm"))
    state = rule.init_state(phi, Layout.flat(4), 1)
    grad = torch.randn(1, 4, generator=generator("grad"))
    first, later = (rule.update(phi, Inputs(grad, torch.tensor(t)), state)[0] for t in (0, 50))
    assert torch.equal(first, later)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": ()}, "widths must be positive"),
        ({"hidden": (20, 0)}, "widths must be positive"),
        ({"preprocess_k": 0.0}, "preprocess_k out of range"),
        ({"preprocess_k": math.nan}, "preprocess_k out of range"),
        ({"preprocess_k": 100.0}, "preprocess_k out of range"),
        ({"output_scale": -0.1}, "output_scale out of range"),
        ({"output_scale": math.inf}, "output_scale out of range"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DM(**settings)  # type: ignore[arg-type]
