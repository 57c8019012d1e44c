from __future__ import annotations

import torch

from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.draw import one_of_each, sample_alike
from rayl2o.tasks.registry import build, task

MIXTURE = task("mixture", tasks=[{"name": "mlp-orig"}, {"name": "quadratic", "settings": {"size": 4}}])


def test_a_family_without_choices_draws_as_it_does_one_by_one() -> None:
    rng, again = (torch.Generator().manual_seed(2) for _ in range(2))
    assert list(sample_alike(Quadratic(), rng, 4)) == [Quadratic().sample(again) for _ in range(4)]


def test_specs_of_a_slot_can_always_be_built_together() -> None:
    rng = torch.Generator().manual_seed(2)
    families = set()
    for _ in range(12):
        specs = sample_alike(MIXTURE, rng, 3)
        families |= {spec.family for spec in specs}
        assert build(specs).k == 3
    assert families == {"mlp", "quadratic"}
    quadratics = next(
        specs for specs in (sample_alike(MIXTURE, rng, 3) for _ in range(20)) if specs[0].family == "quadratic"
    )
    assert len({spec.seed for spec in quadratics}) == 3


def test_one_of_each_part() -> None:
    assert [spec.family for spec in one_of_each(MIXTURE)] == ["mlp", "quadratic"]
    assert [spec.family for spec in one_of_each(Quadratic())] == ["quadratic"]
