from __future__ import annotations

from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.dm import DM
from rayl2o.study.arms import arms, digest, merged
from tests.study.examples import TASK, toy, toy_data


def test_an_arm_is_a_level_of_every_axis_over_the_base() -> None:
    found = arms(toy())
    assert [arm.name for arm in found] == ["dm-first", "dm-exact", "rp-first", "rp-exact"]
    config = found[1].config(seed=5)
    assert found[1].levels == {"rule": "dm", "credit": "exact"}
    assert config.seed == 5
    assert (config.unroll.steps, config.unroll.credit) == (2, "exact")
    assert config.make_rule() == DM(hidden=(3,))


def test_sections_merge_and_a_named_kind_replaces_its_settings() -> None:
    below = {"rule": {"kind": "dm", "settings": {"hidden": [3]}}, "unroll": {"steps": 2}, "updates": 3}
    above = {"rule": {"kind": "rnnprop"}, "unroll": {"credit": "exact"}, "updates": 4}
    assert merged(below, above) == {
        "rule": {"kind": "rnnprop"},
        "unroll": {"steps": 2, "credit": "exact"},
        "updates": 4,
    }
    assert merged(below, {"rule": {"settings": {"output_scale": 0.1}}})["rule"] == {
        "kind": "dm",
        "settings": {"hidden": [3], "output_scale": 0.1},
    }
    assert below["unroll"] == {"steps": 2}


def test_a_preset_lies_below_base_and_levels() -> None:
    axes = {"arm": {"mine": {"preset": "quickstart", "updates": 7}, "other": {"rule": {"kind": "dm"}}}}
    mine, other = arms(toy(axes=axes, reference={}, base={"unroll": {"steps": 10}}))
    config = mine.config(3)
    assert (config.seed, config.updates, config.unroll.steps) == (3, 7, 10)
    assert config.unroll.credit == "exact"
    assert other.config(0).unroll.credit == "curvature"  # the default of the rule


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base": {"preset": "quickstrat"}}, "did you mean 'quickstart'?"),
        ({"base": {"preset": "quickstart", "seed": 1}}, "sets seed"),
        ({"base": {"runtime": {"kind": "local"}}}, "sets runtime"),
        ({"base": {"update": 1}}, "did you mean 'updates'?"),
        ({"snapshots": {"updates": [1001]}, "base": {}}, "ends after 1000 updates"),
        ({"axes": {"a": {"x": {"preset": "quickstart"}}, "b": {"y": {"preset": "quickstart"}}}}, "names two presets"),
        ({"axes": {"a": {"x": {}, "x-y": {}}, "b": {"y-z": {}, "z": {}}}}, "different names"),
    ],
)
def test_a_mistake_of_an_arm_is_said_before_anything_runs(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        arms(toy(reference={}, **changes))
    assert says in str(caught.value)


def test_an_evaluation_may_be_for_some_arms() -> None:
    evaluations = [{"task": TASK, "where": {"rule": "rp"}}]
    study = toy(evaluations=evaluations)
    assert [arm.name for arm in arms(study) if arm.evaluated_in(study.evaluations[0])] == ["rp-first", "rp-exact"]


def test_a_digest_knows_data_and_not_their_order() -> None:
    data = toy_data()
    assert digest(data) == digest(dict(reversed(data.items())))
    assert digest(data) != digest(data | {"seeds": [1, 0]})
