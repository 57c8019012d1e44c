from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.data import load
from rayl2o.tasks.mlp import MLP


def test_layout_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    layout = MLP(data="mnist", hidden=(20, 20)).layout
    assert layout.names[:2] == ("layer_0.weight", "layer_0.bias")
    assert layout.shapes == ((784, 20), (20,), (20, 20), (20,), (20, 10), (10,))
    assert layout.kinds == ("weight", "bias") * 3
    assert layout.depths == (0, 0, 1, 1, 2, 2)
    assert layout.size == 16_330
    assert MLP(hidden=()).layout.shapes == ((64, 10), (10,))


def test_sampling_draws_nothing() -> None:
    rng = torch.Generator().manual_seed(1)
    before = rng.get_state()
    spec = MLP(hidden=(3, 4)).sample(rng)
    assert torch.equal(rng.get_state(), before)
    assert spec == TaskSpec(
        "mlp",
        {
            "data": "digits",
            "hidden": [3, 4],
            "activation": "sigmoid",
            "batch_size": 128,
            "init_std": 0.01,
            "split": "train",
        },
    )


def test_every_setting_arrives() -> None:
    family = MLP(hidden=(7,), activation="tanh", batch_size=11, init_std=0.2, split="test")
    task = family.build([family.sample(torch.Generator())])
    assert task.layout == family.layout
    assert task.draw_batch([0]).rows().shape == (1, 11)
    assert task.data is load("digits", "test")
    assert abs(task.init_params([0]).std() - 0.2) < 0.02
    zero_std = MLP(init_std=0.0)
    params = zero_std.build([TaskSpec("mlp", {"init_std": 0.0})]).init_params([1])
    loss, _ = zero_std.build([TaskSpec("mlp", {"init_std": 0.0})]).loss_and_grad(params, task.draw_batch([0]))
    torch.testing.assert_close(loss, torch.tensor([math.log(10)]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"data": "mnits"}, "did you mean 'mnist'"),
        ({"activation": "reul"}, "did you mean 'relu'"),
        ({"split": "valid"}, "unknown split"),
        ({"hidden": (20, 0)}, "mlp.hidden"),
        ({"batch_size": 0}, "mlp.batch_size"),
        ({"init_std": -1.0}, "mlp.init_std"),
        ({"init_std": math.nan}, "mlp.init_std"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MLP(**bad)
