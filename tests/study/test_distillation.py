from __future__ import annotations

from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.study.definition import parse, written
from rayl2o.study.distillation import Distillation
from tests.study.examples import DISTILLATION, toy, toy_data


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"engin": "linear"}, "did you mean 'engine'?"),
        ({"engine": "liner"}, "did you mean 'linear'?"),
        ({"settings": {"term": 3}}, "did you mean 'terms'?"),
        ({"modes": ["emma"]}, "did you mean 'ema'?"),
        ({"modes": []}, "different values"),
        ({"nodes": [3, 3]}, "different values"),
        ({"horizons": [61]}, "within the runs"),
        ({"errors": [1.0]}, "shares of the variance"),
        ({"runs": 0}, "distillation.runs must be at least 1"),
        ({"cpu_s": 0.0}, "cpu_s must be positive"),
        ({"known": ["sdg"]}, "did you mean 'sgd'?"),
        ({"engine": ""}, "known rules need an engine"),
    ],
)
def test_a_mistake_is_said_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(toy_data(distillation=DISTILLATION | changes))
    assert says in str(caught.value)


def test_nothing_is_distilled_unless_asked_for() -> None:
    assert not Distillation().asked
    assert "distillation" not in written(toy())
    study = toy(distillation=DISTILLATION)
    assert study.distillation.asked
    assert parse(written(study)) == study
