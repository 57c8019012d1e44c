from __future__ import annotations

import torch

from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.specs import only_spec, seeded_spec


def test_a_seeded_spec_is_that_of_the_generator() -> None:
    first, second = (seeded_spec(Quadratic(size=3), torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == second
    assert first == Quadratic(size=3).sample(torch.Generator().manual_seed(5))
    rng = torch.Generator().manual_seed(5)
    assert len({seeded_spec(Quadratic(), rng).seed for _ in range(20)}) == 20


def test_the_only_spec_has_all_settings() -> None:
    settings = {"size": 3, "log10_smallest": -3.0, "log10_largest": 0.0}
    assert only_spec(Quadratic(size=3)) == TaskSpec("quadratic", settings, 0)
