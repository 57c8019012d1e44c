from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.data import load
from rayl2o.tasks.networks.mlp import MLP, NAMED


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
            "centre": 0.0,
            "examples": 0,
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


def test_params_as_published() -> None:
    """S gives 40,480 and 41,072; of P4 it gives no layers, so no number."""
    sizes = {name: _named(name).layout.size for name in NAMED if _named(name).data != "digits"}
    assert {name: sizes[name] for name in ("p2", "p3", "p4")} == {"p2": 40_480, "p3": 41_072, "p4": 154_880}
    assert {name: _named(name).layout.size for name in ("p2-small", "p3-small", "p4-small")} == {
        "p2-small": 1_620,
        "p3-small": 1_948,
        "p4-small": 1_620,
    }
    assert all(NAMED[f"{name}-small"].twin_of == name for name in ("p2", "p3", "p4"))
    assert all(_named(name).centre == 0.5 for name in ("p2", "p3", "p4", "p2-small", "p3-small", "p4-small"))
    assert [_named(name).split for name in ("p2", "p3", "p4")] == ["half-1", "half-1", "train"]


def test_p2_is_the_module_of_paper_s() -> None:
    """Against torch's own layers, with .5 subtracted and log-softmax + NLL as S's code has it."""
    family = replace(_named("p2-small"), init_std=0.3)
    task = family.build([family.sample(torch.Generator())], dtype=torch.float64)
    params, batch = task.init_params([1]), task.draw_batch([2])
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in ((64, 20), (20, 10), (10, 10)):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1], torch.nn.LogSoftmax(1)).double()
    with torch.no_grad():
        for ours, theirs in zip(task.layout.unflatten(params).values(), net.parameters(), strict=True):
            theirs.copy_(ours[0].mT if theirs.dim() == 2 else ours[0])
    rows = batch.rows()[0]
    loss = torch.nn.NLLLoss()(net(task.data.inputs[rows] - 0.5), task.data.labels[rows])
    loss.backward()
    found, grad = task.loss_and_grad(params, batch)
    torch.testing.assert_close(found[0], loss.detach(), rtol=1e-12, atol=0)
    expected = [(p.grad.mT if p.dim() == 2 else p.grad).reshape(-1) for p in net.parameters() if p.grad is not None]
    torch.testing.assert_close(grad[0], torch.cat(expected), rtol=1e-10, atol=1e-14)


def test_examples_are_drawn_by_the_spec_and_instances_may_differ() -> None:
    family = MLP(examples=30, batch_size=64)
    rng = torch.Generator().manual_seed(5)
    one, two = family.sample(rng), family.sample(rng)
    assert one.seed != two.seed
    tasks = family.build([one, two, one])
    rows = torch.cat([tasks.draw_batch([seed] * 3).rows() for seed in range(20)], 1)
    seen = [set(row.tolist()) for row in rows]
    assert seen[0] == seen[2]
    assert seen[0] != seen[1]
    assert [len(row) for row in seen[:2]] == [30, 30]
    assert torch.equal(family.build([two]).draw_batch([3]).rows()[0], tasks.draw_batch([1, 3, 1]).rows()[1])
    assert tasks.data is load("digits")  # no copy of the data


def test_more_examples_than_the_split_has() -> None:
    family = MLP(split="test", examples=298)
    with pytest.raises(UserError, match=r"mlp\.examples is out of range: got 298; use 1\.\.297"):
        family.build([family.sample(torch.Generator())])


def test_centring_leaves_the_data_as_they_are() -> None:
    family = MLP(centre=0.25)
    task, before = family.build([family.sample(torch.Generator())]), load("digits").inputs.clone()
    task.loss_and_grad(task.init_params([0]), task.draw_batch([0]))
    task.loss(task.init_params([0]), task.draw_batch([0]))
    assert torch.equal(load("digits").inputs, before)


def _named(name: str) -> MLP:
    return MLP(**{**NAMED[name].defaults, **NAMED[name].fixed})


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
        ({"centre": math.nan}, "mlp.centre"),
        ({"examples": -1}, "mlp.examples"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MLP(**bad)
