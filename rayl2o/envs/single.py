"""One task as a ``gymnasium.Env``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from rayl2o.envs.episodes import Episodes, Start, concrete_family
from rayl2o.envs.render import MODES, Curve, check_mode, draw
from rayl2o.envs.settings import EnvSettings
from rayl2o.errors import UserError, unknown_name
from rayl2o.seeds import derive_seed
from rayl2o.tasks.base import TaskFamily

Floats = NDArray[np.float32]
OPTIONS = ("task_seed",)


class OptimizationEnv(gymnasium.Env[Floats, Floats]):
    """The optimization of one task: an episode is a run from a fresh initialisation, an agent is an optimizer.

    Observation: Box ``[C, F]`` float32, F features of C coordinates. Action: Box ``[A]`` in [-1, 1]; what is outside is cut.
    Reward: ln loss before the step minus ln loss after it, both on the minibatch of the next gradient, which the action has not
    seen. Terminated on divergence, where the loss counts as the cap; truncated at the horizon. ``info`` has ``loss`` (task's
    unit), ``step``, ``spec`` (the task as JSON text) and ``task_seed``.

    Args:
        task: A name of ``rayl2o list tasks``, or a task family.
        settings: Settings of the task.
        render_mode: None or ``rgb_array``.
        **kwargs: Fields of :class:`~rayl2o.envs.settings.EnvSettings`.

    Raises:
        UserError: If the task or a setting is refused.
    """

    metadata = {"render_modes": list(MODES), "render_fps": 10}  # noqa: RUF012  (gymnasium declares it without ClassVar)

    def __init__(
        self,
        task: str | TaskFamily,
        settings: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.config = EnvSettings.from_kwargs(kwargs)
        self.render_mode = check_mode(render_mode)
        self._name = task if isinstance(task, str) else task.family
        family = concrete_family(task, dict(settings or {}), self.config.family_seed)
        self.episodes = Episodes(family, self.config, 1)
        self.observation_space, self.action_space = box_spaces(self.episodes)
        self._start: Start | None = None
        self._curve: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """A fresh initialisation, of another task unless ``task_seed`` is given here or to the constructor.

        Args:
            seed: Determines this episode and, through the generator that it seeds, all that follow.
            options: ``task_seed``: an integer that draws the task.

        Raises:
            UserError: If an option is unknown or bad, the data cannot be read, or the first loss is not finite.
        """
        super().reset(seed=seed)
        self._start = next_start(self.np_random, self.config, task_seeds(options, 1)[0])
        self.episodes.begin([0], [self._start])
        self._curve = [float(self.episodes.loss)]
        return self.episodes.observation[0].numpy().copy(), self._info(self._start)

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """One inner step.

        Raises:
            UserError: If the action has another shape or is not finite.
            RuntimeError: Before the first reset.
        """
        if self._start is None:
            raise RuntimeError("an episode starts with reset()")
        reward = self.episodes.move(
            as_actions(action, (self.episodes.moves.size,))[None], torch.ones(1, dtype=torch.bool)
        )
        self._curve.append(float(self.episodes.loss))
        terminated = bool(self.episodes.diverged)
        truncated = not terminated and int(self.episodes.step) >= self.config.horizon
        observation = self.episodes.observation[0].numpy().copy()
        return observation, float(reward), terminated, truncated, self._info(self._start)

    def render(self) -> NDArray[np.uint8] | None:
        """The loss so far as an RGB array ``[H, W, 3]``; None without a render mode."""
        if self.render_mode is None:
            return None
        diverged = bool(self.episodes.diverged)
        return draw(Curve(self._curve, diverged, self.config.horizon, self.episodes.linear_below, self._name))

    def _info(self, start: Start) -> dict[str, Any]:
        return {
            "loss": shown_loss(float(self.episodes.loss)),
            "step": int(self.episodes.step),
            "spec": self.episodes.specs[0],
            "task_seed": start.task_seed,
        }


def box_spaces(episodes: Episodes) -> tuple[gymnasium.Space[Floats], gymnasium.Space[Floats]]:
    """Observation and action space of one instance."""
    shape, clip = tuple(episodes.observation.shape[1:]), episodes.settings.clip
    observation: Any = spaces.Box(-clip, clip, shape, np.float32)
    action: Any = spaces.Box(-1.0, 1.0, (episodes.moves.size,), np.float32)
    return observation, action


def next_start(rng: np.random.Generator, settings: EnvSettings, task_seed: int | None = None) -> Start:
    """The next episode from an environment's generator; the task is its own unless one is fixed."""
    seed = int(rng.integers(2**63 - 1))
    fixed = settings.task_seed if task_seed is None else task_seed
    return Start(seed, derive_seed("env task of", seed) if fixed is None else fixed)


def task_seeds(options: Mapping[str, Any] | None, k: int) -> list[int | None]:
    """``options["task_seed"]``, one for all or a list of K; None where the episode draws its own.

    Raises:
        UserError: If there is another option, or it is not that.
    """
    for name in options or {}:
        if name not in OPTIONS:
            raise unknown_name("option of reset", name, OPTIONS)
    given = (options or {}).get("task_seed")
    seeds = list(given) if isinstance(given, list | tuple | np.ndarray) else [given] * k
    for seed in seeds:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0):
            raise UserError("option task_seed of reset is bad", value=given, mend="use an integer of 0 or more")
    if len(seeds) != k:
        raise UserError("option task_seed of reset is bad", value=given, mend=f"give one integer, or {k} of them")
    return [None if seed is None else int(seed) for seed in seeds]


def as_actions(action: object, shape: tuple[int, ...]) -> torch.Tensor:
    """An action within its bounds, as a tensor of its own.

    Raises:
        UserError: If it has another shape or is not finite.
    """
    numbers = np.asarray(action, dtype=np.float32)
    if numbers.shape != shape:
        mend = f"give {' x '.join(map(str, shape))} numbers in -1..1"
        raise UserError("an action of this shape does not fit", value=numbers.shape, mend=mend)
    if not np.isfinite(numbers).all():
        raise UserError("the action is not finite", value=numbers.tolist(), mend="check the policy")
    return torch.from_numpy(np.clip(numbers, -1.0, 1.0))


def shown_loss(loss: float) -> float:
    """A loss as ``info`` shows it: infinite where it is not a number, so that equal steps have equal infos."""
    return math.inf if math.isnan(loss) else loss
