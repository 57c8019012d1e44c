"""K instances of one task as a ``gymnasium.vector.VectorEnv``, in one TaskBatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rayl2o.envs.episodes import Episodes, Start, concrete_family
from rayl2o.envs.render import Curve, check_mode, draw
from rayl2o.envs.settings import EnvSettings
from rayl2o.envs.single import Floats, OptimizationEnv, as_actions, box_spaces, next_start, task_seeds
from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskFamily

Array = NDArray[Any]
MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)


class OptimizationVectorEnv(VectorEnv[Floats, Floats, Array]):
    """K optimizations side by side, equal to ``gymnasium.vector.SyncVectorEnv`` over K :class:`OptimizationEnv`.

    Instance i has a task, an initialisation and minibatches of its own. A family that draws layouts is the same concrete
    family in all of them.

    Args:
        num_envs: K.
        task, settings, render_mode, **kwargs: As of :class:`OptimizationEnv`.
        autoreset_mode: ``NextStep`` (gymnasium's default: the step after the end of an episode starts the next one and
            ignores its action) or ``SameStep`` (``info`` has ``final_obs`` and ``final_info``).

    Raises:
        UserError: If the task or a setting is refused.
    """

    def __init__(
        self,
        num_envs: int,
        task: str | TaskFamily,
        settings: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **kwargs: Any,
    ) -> None:
        if num_envs < 1:
            raise UserError("a vector environment needs instances", value=num_envs, mend="use num_envs of 1 or more")
        self.num_envs = num_envs
        self.config = EnvSettings.from_kwargs(kwargs)
        self.render_mode = check_mode(render_mode)
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {**OptimizationEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self._name = task if isinstance(task, str) else task.family
        family = concrete_family(task, dict(settings or {}), self.config.family_seed)
        self.episodes = Episodes(family, self.config, num_envs)
        self.single_observation_space, self.single_action_space = box_spaces(self.episodes)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._generators: list[np.random.Generator] = []
        self._starts: list[Start] = [Start(0, 0)] * num_envs
        self._ended = np.zeros(num_envs, dtype=np.bool_)
        self._curves: list[list[float]] = [[] for _ in range(num_envs)]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Fresh initialisations.

        Args:
            seed: Of instance i: ``seed + i``, or the i-th of a list; None goes on with its generator.
            options: ``task_seed``: an integer for all, or a list of K.

        Raises:
            UserError: As of :meth:`OptimizationEnv.reset`.
            ValueError: If a list of seeds has not K of them.
        """
        k = self.num_envs
        if seed is None:
            seeds: list[int | None] = [None] * k
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + i for i in range(k)]
        else:
            seeds = list(seed)
        if len(seeds) != k:
            raise ValueError(f"one seed per instance is needed: {k} instances, {len(seeds)} seeds")
        old: list[np.random.Generator | None] = [*self._generators] or [None] * k
        self._generators = [
            rng if rng is not None and one is None else seeding.np_random(one)[0]
            for rng, one in zip(old, seeds, strict=True)
        ]
        self._begin(range(k), task_seeds(options, k))
        self._ended = np.zeros(k, dtype=np.bool_)
        return self._observation(), self._infos()

    def step(self, actions: Floats) -> tuple[Floats, Array, Array, Array, dict[str, Any]]:
        """One inner step of every instance; of those whose episode has ended, see ``autoreset_mode``.

        Raises:
            UserError: If the actions have another shape or are not finite.
            RuntimeError: Before the first reset.
        """
        if not self._generators:
            raise RuntimeError("episodes start with reset()")
        moving = ~self._ended
        reward = self.episodes.move(
            as_actions(actions, (self.num_envs, self.episodes.moves.size)), torch.from_numpy(moving)
        )
        self._extend(np.flatnonzero(moving))
        terminated = moving & self.episodes.diverged.numpy()
        truncated = moving & ~terminated & (self.episodes.step.numpy() >= self.config.horizon)
        final: dict[str, Any] = {}
        ending = terminated | truncated
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            restarting, self._ended = np.flatnonzero(self._ended), ending
        else:
            restarting = np.flatnonzero(ending)
            final = self._final(ending) if len(restarting) else {}
        if len(restarting):
            self._begin(restarting.tolist(), [None] * len(restarting))
        return self._observation(), reward.numpy(), terminated, truncated, final | self._infos()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The loss so far of each instance as RGB arrays ``[H, W, 3]``; None without a render mode."""
        if self.render_mode is None:
            return None
        horizon, least = self.config.horizon, self.episodes.linear_below
        return tuple(
            draw(Curve(curve, diverged, horizon, least, self._name))
            for curve, diverged in zip(self._curves, self.episodes.diverged.tolist(), strict=True)
        )

    def _begin(self, rows: Sequence[int], seeds: Sequence[int | None]) -> None:
        for row, seed in zip(rows, seeds, strict=True):
            self._starts[row] = next_start(self._generators[row], self.config, seed)
            self._curves[row] = []
        self.episodes.begin(list(rows), [self._starts[row] for row in rows])
        self._extend(rows)

    def _extend(self, rows: Sequence[int] | Array) -> None:
        if self.render_mode is not None:
            losses = self.episodes.loss.tolist()
            for row in rows:
                self._curves[row].append(losses[row])

    def _observation(self) -> Floats:
        return self.episodes.observation.numpy().copy()

    def _infos(self) -> dict[str, Any]:
        """What single environments say, an array per key, each with the mask of who says it: everyone."""
        losses = self.episodes.loss.double().numpy().copy()
        infos: dict[str, Any] = {
            "loss": np.where(np.isnan(losses), np.inf, losses),
            "step": self.episodes.step.numpy().copy(),
            "spec": np.array(self.episodes.specs, dtype=object),
            "task_seed": np.array([start.task_seed for start in self._starts], dtype=np.int64),
        }
        return infos | {f"_{name}": np.ones(self.num_envs, dtype=np.bool_) for name in infos}

    def _final(self, ended: Array) -> dict[str, Any]:
        """``final_obs`` and ``final_info`` of the instances whose episode has ended, before their next one begins."""
        observations = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(ended):
            observations[row] = self._observation()[row]
        return {
            "final_obs": observations,
            "final_info": {name: _of(values, ended) for name, values in self._infos().items()},
            "_final_obs": ended.copy(),
            "_final_info": ended.copy(),
        }


def _of(values: Array, rows: Array) -> Array:
    """The values where ``rows`` holds, elsewhere zeros (None for objects)."""
    kept = np.full(len(values), None, dtype=object) if values.dtype == object else np.zeros_like(values)
    kept[rows] = values[rows]
    return kept


def _mode(mode: AutoresetMode | str) -> AutoresetMode:
    for known in MODES:
        if mode in (known, known.value, known.name):
            return known
    mend = f"use {' or '.join(known.value for known in MODES)}"
    raise UserError("autoreset mode of a vector environment is bad", value=str(mode), mend=mend)
