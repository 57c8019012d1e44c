from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rayl2o.cluster.study_space import (
    OPTIMIZERS,
    USUAL,
    Choice,
    Linear,
    Log,
    dimension,
    dimensions_of,
    latin,
    on_edge,
    setting_at,
)
from rayl2o.errors import UserError
from rayl2o.evaluate.search_space import SPACES, Range
from rayl2o.rules.adam_variants import ADAM_VARIANTS
from rayl2o.rules.aggmo import AggMo
from rayl2o.rules.classic import CLASSIC
from rayl2o.rules.decoupled import AdamW
from rayl2o.rules.lion import Lion


def test_every_classic_rule_has_a_space_that_its_rule_takes() -> None:
    newer = {rule.kind for rule in ADAM_VARIANTS} | {AdamW.kind, Lion.kind, AggMo.kind}
    assert {rule.kind for rule in CLASSIC} | newer == set(OPTIMIZERS)
    assert set(USUAL) == {rule.kind for rule in CLASSIC}
    for kind, space in OPTIMIZERS.items():
        for fraction in (0.0, 0.5, 1.0):
            setting = setting_at(dimensions_of(kind, {}), dict.fromkeys(space.ranges, fraction))
            assert space.make(**setting).kind == kind


def test_default_ranges_are_those_of_the_report() -> None:
    assert dimensions_of("adam", {}) == {name: Log(r) for name, r in SPACES["adam"].ranges.items()}


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ({"log": [0.01, 1]}, (0.01, 0.1, 1.0)),
        ({"uniform": [0, 2]}, (0.0, 1.0, 2.0)),
        ({"int": [1, 3]}, (1, 2, 3)),
        ({"choice": ["a", None, [1]]}, ("a", None, [1])),
    ],
)
def test_a_dimension_is_read_and_drawn(written: Any, values: tuple[Any, ...]) -> None:
    one = dimension("x", written)
    assert tuple(one.at(fraction) for fraction in (0.0, 0.5, 1.0)) == values


def test_whole_numbers_are_drawn_evenly() -> None:
    drawn = [Linear(1, 4, whole=True).at(f) for f in np.linspace(0, 1, 400, endpoint=False)]
    assert [drawn.count(i) for i in (1, 2, 3, 4)] == [100] * 4


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"logs": [1, 2]}, "did you mean 'log'"),
        ({"log": []}, "space.x is empty"),
        ({"choice": []}, "space.x is empty"),
        ({"log": [1, 1]}, "space.x is empty"),
        ({"uniform": [2, 1]}, "space.x is empty"),
        ({"log": [0, 1]}, "must be above 0"),
        ({"log": [1]}, "must be two numbers"),
        ({"log": ["a", 2]}, "must be two numbers"),
        ({"uniform": [False, True]}, "must be two numbers"),
        ({"int": [0.5, 2]}, "whole numbers"),
        ({"choice": [1, 2, 1]}, "stands twice"),
        ({"choice": "ab"}, "space.x is empty"),
        ({"log": [1, 2], "int": [1, 2]}, "must have one kind"),
        (3, "must have one kind"),
    ],
)
def test_a_bad_dimension_is_refused_with_its_name(written: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        dimension("x", written)


def test_ranges_are_given_as_hyperparameters() -> None:
    found = dimensions_of("adam", {"adam.lr": [1e-3, 0.1], "adam.beta1": [0.0, 0.9], "sgd.lr": [1.0, 2.0]})
    assert found["lr"] == Log(Range(1e-3, 0.1))
    assert {found["beta1"].at(0.0), found["beta1"].at(1.0)} == {0.9, 0.0}
    assert found["beta2"] == dimensions_of("adam", {})["beta2"]


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"adam.lt": [1, 2]}, "did you mean 'lr'"),
        ({"adam.lr": [2, 1]}, "is empty"),
        ({"adam.lr": [0, 1]}, "above 0"),
        ({"adam.beta1": [0.5, 1.0]}, r"in \[0, 1\)"),
        ({"adam.beta1": [0.5]}, "two numbers"),
    ],
)
def test_bad_ranges_are_refused(ranges: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        dimensions_of("adam", ranges)


def test_points_cover_every_margin_and_depend_on_the_seed_only() -> None:
    points = latin(["a", "b"], 8, seed=3)
    for name in ("a", "b"):
        assert sorted(int(point[name] * 8) for point in points) == list(range(8))
    assert points == latin(["a", "b"], 8, seed=3) != latin(["a", "b"], 8, seed=4)


def test_an_optimum_at_an_edge_is_named_but_not_at_a_natural_limit() -> None:
    dimensions = {
        **dimensions_of("momentum", {}),
        "n": Linear(1, 5, whole=True),
        "u": Linear(0, 1),
        "c": Choice((1, 2)),
    }
    inside = {"lr": 0.1, "momentum": 0.9, "n": 3, "u": 0.5, "c": 1}
    assert on_edge(dimensions, inside) == ()
    assert on_edge(dimensions, {**inside, "lr": 9.9, "n": 5, "u": 0.99}) == ("lr", "n", "u")
    assert on_edge(dimensions, {**inside, "momentum": 0.0}) == ()
