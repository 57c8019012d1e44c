"""What docs/environments.md says is so."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import gymnasium
import pytest

from rayl2o.envs import ACTIONS, EnvSettings, OptimizationEnv, OptimizationVectorEnv
from rayl2o.envs.features import DEFAULT, INSTANCE, PAIR
from rayl2o.rules.operands import SIGNALS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "environments.md").read_text()


def test_every_setting_action_and_feature_is_in_its_table() -> None:
    for field in fields(EnvSettings):
        assert f"\n| `{field.name}` |" in PAGE
    for name in (*ACTIONS, *INSTANCE, *PAIR, *SIGNALS):
        assert f"`{name}`" in PAGE
    assert f"`{' '.join(DEFAULT)}`" in PAGE


def test_an_environment_of_one_s_own_task_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    gymnasium.register(
        id="mine/my-task-v0",
        entry_point="rayl2o.envs:OptimizationEnv",
        vector_entry_point="rayl2o.envs:OptimizationVectorEnv",
        kwargs={"task": "quadratic", "horizon": 200},
    )
    env, envs = gymnasium.make("mine/my-task-v0").unwrapped, gymnasium.make_vec("mine/my-task-v0", num_envs=2)
    assert isinstance(env, OptimizationEnv)
    assert isinstance(envs, OptimizationVectorEnv)
    assert env.config == envs.config == EnvSettings(horizon=200)
