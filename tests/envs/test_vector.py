"""K instances in one TaskBatch against gymnasium's own vector environment over K single ones."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rayl2o.envs import OptimizationVectorEnv, environments
from rayl2o.errors import UserError

IDS = [info.id for info in environments() if info.size is not None]
K = 4
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "update": ("rayl2o/quadratic-v0", {"update_scale": 100.0}),
    "log_step": ("rayl2o/quadratic-v0", {"action": "log_step", "log10_steps": (0.0, 3.0)}),
    "sampled": ("rayl2o/mlp-orig-v0", {"coords": 7, "settings": {"batch_size": 8}, "features": ["g", "gain"]}),
    "log_step_tensor": ("rayl2o/mlp-relu-v0", {"action": "log_step_tensor", "settings": {"batch_size": 8}}),
    "one task": ("rayl2o/quadratic-v0", {"task_seed": 4}),
}


def assert_same(one: Any, two: Any) -> None:
    """Equal up to what other kernels for other K may round."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif one.dtype == object:
        assert two.dtype == object
        for left, right in zip(one, two, strict=True):
            if isinstance(left, np.ndarray):
                assert_same(left, right)
            else:
                assert left == right
    else:
        assert one.dtype == two.dtype
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-4)


def pair(case: str, mode: AutoresetMode) -> tuple[VectorEnv, VectorEnv]:
    name, settings = CASES[case]
    settings = {"horizon": 5, **settings}
    kept = {"autoreset_mode": mode}
    sync = gymnasium.make_vec(name, num_envs=K, vectorization_mode="sync", vector_kwargs=kept, **settings)
    vector = gymnasium.make_vec(name, num_envs=K, autoreset_mode=mode, **settings)
    assert isinstance(sync, SyncVectorEnv)
    assert isinstance(vector, OptimizationVectorEnv)
    return vector, sync


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("case", CASES)
def test_it_is_k_single_environments(case: str, mode: AutoresetMode) -> None:
    """Observations, rewards, ends and infos, through several episodes that end at different steps."""
    vector, sync = pair(case, mode)
    for space in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(vector, space) == getattr(sync, space)
    assert vector.metadata["autoreset_mode"] is mode
    for one, two in zip(vector.reset(seed=8), sync.reset(seed=8), strict=True):
        assert_same(one, two)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(13):
        actions = rng.uniform(-1, 1, vector.action_space.shape).astype(np.float32)
        told, expected = vector.step(actions), sync.step(actions)
        for one, two in zip(told, expected, strict=True):
            assert_same(one, two)
        ends += int((told[2] | told[3]).sum())
    assert ends >= 2 * K


@pytest.mark.parametrize("case", ["update", "log_step"])
def test_the_cases_diverge_at_different_steps(case: str) -> None:
    vector, _ = pair(case, AutoresetMode.NEXT_STEP)
    vector.reset(seed=8)
    rng = np.random.default_rng(0)
    ends = [vector.step(rng.uniform(-1, 1, vector.action_space.shape))[2] for _ in range(13)]
    assert any(0 < end.sum() < K for end in ends)


@pytest.mark.parametrize("name", IDS)
def test_every_id_runs(name: str) -> None:
    envs = gymnasium.make_vec(name, num_envs=3, horizon=2)
    assert isinstance(envs, OptimizationVectorEnv)
    seen, infos = envs.reset(seed=[1, 1, 2])
    assert seen in envs.observation_space
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])
    assert len(set(infos["task_seed"])) == 2
    envs.action_space.seed(0)
    for _ in range(4):
        seen, reward, *_ = envs.step(envs.action_space.sample())
        assert seen in envs.observation_space
        assert np.isfinite(reward).all()
    envs.close()


def test_seeds_and_options() -> None:
    envs = OptimizationVectorEnv(3, "quadratic")
    one, two = envs.reset(seed=5)[1]["spec"], envs.reset(seed=[5, 6, 7])[1]["spec"]
    numpy_seed: Any = np.int64(5)
    assert list(envs.reset(seed=numpy_seed)[1]["spec"]) == list(one)
    assert list(one) == list(two)
    assert list(envs.reset()[1]["spec"]) != list(one)
    assert len(set(envs.reset(options={"task_seed": 3})[1]["spec"])) == 1
    chosen = envs.reset(options={"task_seed": [1, 2, 1]})[1]["spec"]
    assert chosen[0] == chosen[2] != chosen[1]
    with pytest.raises(UserError, match="give one integer, or 3 of them"):
        envs.reset(options={"task_seed": [1, 2]})
    with pytest.raises(ValueError, match="one seed per instance is needed: 3 instances, 2 seeds"):
        envs.reset(seed=[1, 2])


def test_unseeded_instances_differ() -> None:
    assert len(set(OptimizationVectorEnv(3, "quadratic").reset()[1]["spec"])) == 3


def test_what_was_returned_is_never_written_to() -> None:
    envs = OptimizationVectorEnv(3, "quadratic", horizon=2)
    seen, infos = envs.reset(seed=0)
    kept, losses = seen.copy(), infos["loss"].copy()
    for _ in range(4):
        envs.step(np.ones((3, 5), np.float32))
    assert np.array_equal(seen, kept)
    assert np.array_equal(infos["loss"], losses)
    seen[:] = np.nan
    assert np.isfinite(envs.step(np.zeros((3, 5), np.float32))[0]).all()


def test_render() -> None:
    envs = gymnasium.make_vec("rayl2o/quadratic-v0", num_envs=2, render_mode="rgb_array")
    envs.reset(seed=0)
    envs.step(np.zeros((2, 5), np.float32))
    frames: Any = envs.render()
    assert len(frames) == 2
    assert not np.array_equal(frames[0], frames[1])
    assert OptimizationVectorEnv(2, "quadratic").render() is None


def test_mistakes() -> None:
    envs = OptimizationVectorEnv(2, "quadratic")
    with pytest.raises(RuntimeError, match="start with reset"):
        envs.step(np.zeros((2, 5), np.float32))
    envs.reset(seed=0)
    with pytest.raises(UserError, match="give 2 x 5 numbers"):
        envs.step(np.zeros(5, np.float32))
    with pytest.raises(UserError, match="use num_envs of 1 or more"):
        OptimizationVectorEnv(0, "quadratic")
    with pytest.raises(UserError, match="use NextStep or SameStep"):
        OptimizationVectorEnv(2, "quadratic", autoreset_mode="Disabled")
