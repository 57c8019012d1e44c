from __future__ import annotations

import json
import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from rayl2o.envs import ACTIONS, OptimizationEnv, environments
from rayl2o.errors import UserError
from rayl2o.tasks.analytic.quadratic import Quadratic

IDS = [info.id for info in environments() if info.size is not None]


@pytest.mark.parametrize("name", IDS)
def test_check_env_passes_without_a_warning(name: str) -> None:
    check_env(gymnasium.make(name).unwrapped)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("coords", [None, 2])
def test_check_env_passes_for_every_kind_of_action(action: str, coords: int | None) -> None:
    env = gymnasium.make("rayl2o/quadratic-v0", action=action, coords=coords, features=["g", "cosine", "ema(q, 0.5)"])
    check_env(env.unwrapped)


def run(env: gymnasium.Env[Any, Any], seed: int | None, options: dict[str, Any] | None = None) -> list[Any]:
    """Everything that an episode under fixed actions says."""
    rng = np.random.default_rng(0)
    seen, info = env.reset(seed=seed, options=options)
    told: list[Any] = [seen.tolist(), info]
    ended = False
    while not ended:
        seen, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        told.append((seen.tolist(), reward, terminated, truncated, info))
        ended = terminated or truncated
    return told


def test_a_seed_determines_this_episode_and_all_that_follow() -> None:
    one, two = (gymnasium.make("rayl2o/mlp-orig-v0", horizon=4, settings={"batch_size": 8}) for _ in range(2))
    first, second = [run(one, 5), run(one, None)], [run(two, 5), run(two, None)]
    assert first == second
    assert first[0] != first[1]
    assert run(one, 6) != first[0]


def test_the_task_is_a_new_one_unless_it_is_fixed() -> None:
    env = gymnasium.make("rayl2o/quadratic-v0")
    specs = [env.reset(seed=seed)[1]["spec"] for seed in (1, 2)]
    assert specs[0] != specs[1]
    told = [env.reset(seed=seed, options={"task_seed": 9}) for seed in (1, 2)]
    assert told[0][1]["spec"] == told[1][1]["spec"]
    assert not np.array_equal(told[0][0], told[1][0])  # another initialisation
    fixed = gymnasium.make("rayl2o/quadratic-v0", task_seed=9)
    assert fixed.reset(seed=3)[1]["spec"] == told[0][1]["spec"] == fixed.reset()[1]["spec"]
    again = env.reset(seed=77)[1]
    assert env.reset(seed=1, options={"task_seed": again["task_seed"]})[1]["spec"] == again["spec"]


def test_info_says_loss_step_and_task() -> None:
    env = gymnasium.make("rayl2o/quadratic-v0", settings={"size": 3}, action="log_step")
    _, info = env.reset(seed=0)
    assert json.loads(info["spec"])["settings"]["size"] == 3
    losses = [info["loss"]]
    for step in range(1, 4):
        _, reward, _, _, info = env.step(np.zeros(1, np.float32))
        assert info["step"] == step
        losses.append(info["loss"])
        assert float(reward) == pytest.approx(math.log(losses[-2]) - math.log(losses[-1]), abs=1e-5)


def test_truncated_at_the_horizon_and_terminated_on_divergence() -> None:
    env = gymnasium.make("rayl2o/quadratic-v0", horizon=3, action="log_step")
    env.reset(seed=0)
    assert [env.step(np.zeros(1, np.float32))[2:4] for _ in range(3)] == [(False, False)] * 2 + [(False, True)]
    wild = gymnasium.make("rayl2o/quadratic-v0", update_scale=1e30, horizon=1)
    wild.reset(seed=0)
    seen, reward, terminated, truncated, info = wild.step(np.ones(5, np.float32))
    assert (terminated, truncated, info["loss"]) == (True, False, math.inf)
    assert -math.log(1e4 / 1e-10) < float(reward) < 0
    assert seen in wild.observation_space


def test_spaces() -> None:
    env = gymnasium.make("rayl2o/mlp-orig-v0", coords=10, features=("g", "q"), clip=3.0)
    assert env.observation_space == spaces.Box(-3.0, 3.0, (10, 2), np.float32)
    assert env.action_space == spaces.Box(-1.0, 1.0, (10,), np.float32)
    assert gymnasium.make("rayl2o/mlp-orig-v0", action="log_step_tensor").action_space.shape == (4,)


def test_actions_outside_the_box_are_cut() -> None:
    env = gymnasium.make("rayl2o/quadratic-v0")
    told = []
    for size in (1.0, 50.0):
        env.reset(seed=0)
        told.append(env.step(np.full(5, size, np.float32))[1])
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.zeros(3), "give 5 numbers"), (np.zeros((5, 1)), "does not fit"), (np.full(5, np.nan), "is not finite")],
)
def test_actions_that_are_none(action: Any, message: str) -> None:
    env = OptimizationEnv("quadratic")
    env.reset(seed=0)
    with pytest.raises(UserError, match=message):
        env.step(action)


def test_mistakes() -> None:
    env = OptimizationEnv(Quadratic())
    with pytest.raises(RuntimeError, match="starts with reset"):
        env.step(np.zeros(5, np.float32))
    with pytest.raises(UserError, match="unknown option of reset: got 'task_sed'; did you mean 'task_seed'"):
        env.reset(options={"task_sed": 1})
    for bad in (-1, 1.5, True, "one"):
        with pytest.raises(UserError, match="option task_seed of reset is bad"):
            env.reset(options={"task_seed": bad})
    with pytest.raises(UserError, match="unknown render mode"):
        OptimizationEnv("quadratic", render_mode="human")


def test_render() -> None:
    env = gymnasium.make("rayl2o/quadratic-v0", render_mode="rgb_array", action="log_step")
    env.reset(seed=0)
    frames: list[Any] = [env.render()]
    env.step(np.zeros(1, np.float32))
    frames.append(env.render())
    assert all(isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 for frame in frames)
    assert not np.array_equal(frames[0], frames[1])
    silent = OptimizationEnv("quadratic")
    silent.reset(seed=0)
    assert silent.render() is None
