"""Settings of an environment: what is seen, what is done, how long, and when it has gone wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rayl2o.envs.features import DEFAULT, Features
from rayl2o.errors import UserError, unknown_name

ACTIONS: Mapping[str, str] = {
    "update": "the displacement of each coordinate that is seen, in units of update_scale",
    "log_step": "log10 of one step size along the negative gradient",
    "log_step_tensor": "log10 of a step size for each tensor of the layout",
}
"""Kinds of action."""
AUTO_COORDS = 256
"""Coordinates that are seen where ``coords`` is None: all of them up to this number, else a sample of it."""


@dataclass(frozen=True)
class EnvSettings:
    """How a task is made an environment.

    Attributes:
        features: What is seen at each coordinate, see :mod:`rayl2o.envs.features`.
        coords: C, how many coordinates are seen: a sample without replacement, drawn at each reset; all of them, in order, if the
            task has no more. None: :data:`AUTO_COORDS`.
        action: One of :data:`ACTIONS`.
        update_scale: Displacement of a coordinate at an ``update`` action of 1, in units of params.
        log10_steps: log10 of the step size at a ``log_step`` action of -1 and of 1.
        others_step: Step size of gradient descent at the coordinates that an ``update`` action does not cover; 0 lets them rest.
        horizon: Steps of an episode.
        loss_cap: A loss above it, and above ten times the first one, is divergence (task's unit).
        linear_below: Where the logarithm of a loss turns linear (task's unit), see :mod:`rayl2o.envs.log_loss`. None: what suits
            the task.
        clip: Bound of the observation: every feature is cut to plus or minus this.
        task_seed: Makes every episode the same task; None draws one for each.
        family_seed: Of a family that draws layouts: which of them this environment has.

    Raises:
        UserError: If a name is unknown or a number out of range.
    """

    features: tuple[str, ...] = DEFAULT
    coords: int | None = None
    action: str = "update"
    update_scale: float = 0.1
    log10_steps: tuple[float, float] = (-4.0, 1.0)
    others_step: float = 0.1
    horizon: int = 100
    loss_cap: float = 1e4
    linear_below: float | None = None
    clip: float = 10.0
    task_seed: int | None = None
    family_seed: int = 0

    def __post_init__(self) -> None:
        Features.parse(self.features)
        if self.action not in ACTIONS:
            raise unknown_name("action kind of an environment", self.action, ACTIONS)
        for name, least in (("coords", 1), ("horizon", 1), ("task_seed", 0), ("family_seed", 0)):
            value = getattr(self, name)
            if value is None and name in ("coords", "task_seed"):
                continue
            if type(value) is not int or value < least:
                raise UserError(f"environment setting {name} is bad", value=value, mend=f"use an integer >= {least}")
        for name in ("update_scale", "loss_cap", "linear_below", "clip"):
            value = getattr(self, name)
            if not (value is None and name == "linear_below") and not 0.0 < value < math.inf:
                mend = "use a finite number above 0"
                raise UserError(f"environment setting {name} is bad", value=value, mend=mend)
        if not 0.0 <= self.others_step < math.inf:
            mend = "use a finite number of 0 or more"
            raise UserError("environment setting others_step is bad", value=self.others_step, mend=mend)
        if len(self.log10_steps) != 2 or not -30 <= self.log10_steps[0] < self.log10_steps[1] <= 30:
            mend = "use (smallest, largest) with smallest < largest, both within -30..30"
            raise UserError("environment setting log10_steps is bad", value=self.log10_steps, mend=mend)

    @classmethod
    def from_kwargs(cls, given: Mapping[str, Any]) -> EnvSettings:
        """From the keyword arguments of ``gymnasium.make``; lists pass for tuples.

        Raises:
            UserError: If one is unknown, of the wrong type or out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown_name("setting of an environment", name, [*known, "settings (of the task)"])
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            mend = "see the table of settings in docs/environments.md"
            raise UserError(f"environment settings are refused ({error})", value=dict(given), mend=mend) from error

    def coordinates(self, size: int) -> int:
        """C for a task of ``size`` coordinates."""
        return min(size, AUTO_COORDS if self.coords is None else self.coords)
