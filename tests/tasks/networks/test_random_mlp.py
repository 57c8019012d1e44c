from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskFamily, TaskSpec
from rayl2o.tasks.mixed_batch import MixedBatch
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.networks.mlp_batch import MLPBatch
from rayl2o.tasks.networks.random_mlp import RandomMLP
from rayl2o.tasks.settings import from_settings

FAMILY = RandomMLP(
    depths=(0, 3),
    widths=(4, 16),
    activations="relu, tanh,elu",
    batch_sizes=(8, 32),
    examples=(50, 500),
    init_std=0.1,
    split="half-1",
    centre=0.5,
)


def drawn(family: RandomMLP, count: int, seed: int = 0) -> list[MLP]:
    rng = torch.Generator().manual_seed(seed)
    return [from_settings(MLP, family.sample(rng).settings, "mlp") for _ in range(count)]


def test_a_spec_is_one_of_family_mlp_with_concrete_settings() -> None:
    spec = FAMILY.sample(torch.Generator().manual_seed(0))
    assert isinstance(FAMILY, TaskFamily)
    assert spec.family == "mlp"
    assert TaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    family = from_settings(MLP, spec.settings, "mlp")
    assert (family.init_std, family.split, family.centre) == (0.1, "half-1", 0.5)


def test_every_setting_is_drawn_from_its_whole_range() -> None:
    families = drawn(FAMILY, 600)
    assert {len(family.hidden) for family in families} == {0, 1, 2, 3}
    assert {width for family in families for width in family.hidden} == set(range(4, 17))
    assert {family.activation for family in families} == {"relu", "tanh", "elu"}
    assert {family.batch_size for family in families} >= {8, 31, 32}
    sizes = [family.examples for family in families]
    assert min(sizes) >= 50
    assert max(sizes) <= 500
    assert len({family.hidden for family in families if len(family.hidden) > 1}) > 100  # each width on its own


def test_ranges_are_log_uniform() -> None:
    sizes = torch.tensor([family.examples for family in drawn(FAMILY, 1000)], dtype=torch.float64)
    logs = sizes.log() - math.log(50)
    assert abs(logs.mean() / math.log(10) - 0.5) < 0.03
    assert abs((sizes < 50 * 10**0.5).double().mean() - 0.5) < 0.05


def test_a_range_of_one_value_and_all_examples() -> None:
    family = RandomMLP(depths=(2, 2), widths=(7, 7), activations="relu", batch_sizes=(64, 64))
    assert set(drawn(family, 20)) == {MLP(hidden=(7, 7), activation="relu", batch_size=64)}


def test_the_same_generator_draws_the_same() -> None:
    specs = [[FAMILY.sample(torch.Generator().manual_seed(s)) for s in (1, 2)] for _ in range(2)]
    assert specs[0] == specs[1]
    assert specs[0][0] != specs[0][1]


def test_tasks_of_different_sizes_are_built_side_by_side() -> None:
    rng = torch.Generator().manual_seed(3)
    specs = [FAMILY.sample(rng) for _ in range(4)]
    tasks = FAMILY.build(specs, dtype=torch.float64)
    assert isinstance(tasks, MixedBatch)
    params = tasks.init_params(range(4))
    losses, _ = tasks.loss_and_grad(params, tasks.draw_batch(range(4)))
    for row, spec in enumerate(specs):
        alone = from_settings(MLP, spec.settings, "mlp").build([spec], dtype=torch.float64)
        start = alone.init_params([row])
        assert torch.equal(start[0], params[row, : alone.layout.size])
        torch.testing.assert_close(alone.loss_and_grad(start, alone.draw_batch([row]))[0][0], losses[row])


def test_tasks_that_are_alike_are_one_batch() -> None:
    spec = FAMILY.sample(torch.Generator().manual_seed(3))
    tasks = FAMILY.build([spec, TaskSpec("mlp", spec.settings, 9)])
    assert isinstance(tasks, MLPBatch)
    assert tasks.subsets is not None
    assert tasks.subsets.seeds == (spec.seed, 9)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"depths": (2, 1)}, r"random-mlp\.depths is no range: got \(2, 1\); give two integers, .* of 0 or more"),
        ({"widths": (0, 8)}, r"random-mlp\.widths"),
        ({"widths": (8,)}, r"random-mlp\.widths"),
        ({"batch_sizes": (1, 2, 3)}, r"random-mlp\.batch_sizes"),
        ({"examples": (0, 5)}, r"random-mlp\.examples"),
        ({"activations": "relu,reul"}, "did you mean 'relu'"),
        ({"activations": ""}, "unknown activation"),
        ({"data": "mnits"}, "did you mean 'mnist'"),
        ({"split": "valid"}, "unknown split"),
        ({"init_std": -1.0}, "init_std"),
        ({"centre": math.inf}, "centre"),
    ],
)
def test_bad_settings(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RandomMLP(**bad)


def test_specs_of_others_are_refused() -> None:
    with pytest.raises(UserError, match="does not draw: got 'random-mlp'; build what its sample"):
        FAMILY.build([TaskSpec("random-mlp")])
