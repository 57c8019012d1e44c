"""How long a trajectory is to be, decided when its ticket is made."""

from __future__ import annotations

import math

import torch

from rayl2o.meta.curriculum import continuous_horizon, reached_stage
from rayl2o.meta.training import TrainConfig
from rayl2o.seeds import generator


def plan_horizon(config: TrainConfig, slot: int, ordinal: int, stage: int) -> tuple[int, int]:
    """(inner steps, stage) of a trajectory; determined by its arguments, so that every runtime plans alike.

    Args:
        config: Of the run.
        slot, ordinal: Whose how-manieth trajectory.
        stage: Of the round in which it begins; ``continuous`` finds its own.
    """
    curriculum, steps = config.curriculum, config.unroll.steps
    if curriculum.kind == "continuous":
        horizon = continuous_horizon(curriculum, nominal_begin(config, ordinal), config.updates, steps)
        return horizon, reached_stage(curriculum, horizon)
    if curriculum.kind == "random":
        return steps * random_unrolls(
            curriculum.n_train[0] / steps, generator(config.seed, "horizon", slot, ordinal)
        ), 0
    return curriculum.n_train[stage], stage


def nominal_begin(config: TrainConfig, ordinal: int) -> int:
    """Round (from 0) in which a slot's trajectory begins if none before it ends early.

    Not the round itself, which would make a ticket depend on the runtime. Trajectories that diverge run ahead of the schedule.
    """
    begin, steps = 0, config.unroll.steps
    for _ in range(ordinal):
        begin += continuous_horizon(config.curriculum, begin, config.updates, steps) // steps
    return begin


def random_unrolls(mean: float, draws: torch.Generator) -> int:
    """1, 2, ... with a geometric distribution of that mean (at least 1): an exponential, rounded down, and 1."""
    if mean <= 1.0:
        return 1
    uniform = float(torch.rand((), generator=draws, dtype=torch.float64))
    return 1 + math.floor(math.log1p(-uniform) / math.log1p(-1.0 / mean))
