from __future__ import annotations

import math
from typing import Any

import pytest

from rayl2o.envs.settings import AUTO_COORDS, EnvSettings
from rayl2o.errors import UserError


def test_lists_pass_for_tuples_as_json_has_them() -> None:
    settings = EnvSettings.from_kwargs({"features": ["g", "progress"], "log10_steps": [-2, 0.5], "horizon": 7})
    assert settings == EnvSettings(features=("g", "progress"), log10_steps=(-2, 0.5), horizon=7)


def test_all_coordinates_of_a_small_task_and_a_sample_of_a_large_one() -> None:
    assert EnvSettings().coordinates(5) == 5
    assert EnvSettings().coordinates(AUTO_COORDS + 1) == AUTO_COORDS
    assert EnvSettings(coords=3).coordinates(5) == 3
    assert EnvSettings(coords=1000).coordinates(1500) == 1000


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"horizn": 5}, "unknown setting of an environment: got 'horizn'; did you mean 'horizon'"),
        ({"action": "logstep"}, "did you mean 'log_step'"),
        ({"features": ("m_tild",)}, "unknown feature of an environment: got 'm_tild'"),
        ({"horizon": 0}, "horizon is bad: got 0; use an integer >= 1"),
        ({"horizon": 2.5}, "horizon is bad"),
        ({"coords": 0}, "coords is bad"),
        ({"task_seed": -1}, "task_seed is bad: got -1; use an integer >= 0"),
        ({"family_seed": True}, "family_seed is bad"),
        ({"update_scale": 0.0}, "update_scale is bad: got 0.0; use a finite number above 0"),
        ({"update_scale": "much"}, "environment settings are refused"),
        ({"clip": math.inf}, "clip is bad"),
        ({"loss_cap": math.nan}, "loss_cap is bad"),
        ({"linear_below": 0.0}, "linear_below is bad: got 0.0; use a finite number above 0"),
        ({"others_step": -0.1}, "others_step is bad"),
        ({"log10_steps": (1.0, 1.0)}, "use (smallest, largest)"),
        ({"log10_steps": (-40.0, 1.0)}, "within -30..30"),
        ({"log10_steps": 1.0}, "environment settings are refused"),
    ],
)
def test_mistakes(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        EnvSettings.from_kwargs(bad)
    assert message in str(caught.value)
