from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.mixed_batch import MixedBatch
from rayl2o.tasks.mixture import Mixture
from rayl2o.tasks.registry import task

PARTS = [{"name": "mlp-orig", "weight": 3, "settings": {"batch_size": 8}}, {"name": "quadratic"}]


def mixture(parts: Any = PARTS) -> Mixture:
    found = task("mixture", tasks=parts)
    assert isinstance(found, Mixture)
    return found


def test_parts_come_by_weight_and_as_their_own_families() -> None:
    rng = torch.Generator().manual_seed(0)
    found = Counter(mixture().sample(rng).family for _ in range(400))
    assert set(found) == {"mlp", "quadratic"}
    assert 270 < found["mlp"] < 330  # 300 +- 3.5 standard deviations of sqrt(400 * 3/4 * 1/4)


def test_the_same_generator_draws_the_same() -> None:
    one, two = (
        [mixture().sample(rng) for _ in range(9)] for rng in (torch.Generator().manual_seed(4) for _ in range(2))
    )
    assert one == two


def test_it_builds_whatever_was_drawn() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = [mixture().sample(rng) for _ in range(8)]
    assert isinstance(mixture().build(drawn), MixedBatch)
    alike = [Quadratic().sample(rng) for _ in range(2)]
    assert isinstance(mixture().build(alike, dtype=torch.float64), QuadraticBatch)


def test_mixtures_nest() -> None:
    inner = {"name": "mixture", "settings": {"tasks": [{"name": "quadratic"}]}}
    assert mixture([inner]).sample(torch.Generator()).family == "quadratic"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "a mixture needs tasks"),
        ({"tasks": "quadratic"}, "mixture.tasks must be a list: got 'quadratic'"),
        ({"task": []}, "unknown setting of task 'mixture': got 'task'; did you mean 'tasks'"),
        ({"tasks": [{"weight": 1}]}, "a part of a mixture needs a task's name"),
        ({"tasks": [{"name": "quadratic", "wieght": 1}]}, "did you mean 'weight'"),
        ({"tasks": [{"name": "quadratic", "weight": 0}]}, "weight of 'quadratic' in a mixture is bad: got 0"),
        ({"tasks": [{"name": "quadratic", "weight": True}]}, "is bad: got True"),
        ({"tasks": [{"name": "quadratic", "settings": 3}]}, "settings of 'quadratic' in a mixture are no mapping"),
        ({"tasks": [{"name": "quadratic", "settings": {"size": 0}}]}, "quadratic.size is too small"),
        ({"tasks": [{"name": "quadratics"}]}, "did you mean 'quadratic'"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        task("mixture", **settings)
    assert message in str(caught.value)
