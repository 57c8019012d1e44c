"""How most families make a spec: their settings, and a seed if there is anything to draw."""

from __future__ import annotations

from typing import Any

import torch

from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.settings import to_settings


def seeded_spec(family: Any, generator: torch.Generator) -> TaskSpec:
    """A spec with the settings of ``family`` and a fresh 63-bit seed."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return TaskSpec(family.family, to_settings(family), seed)


def only_spec(family: Any) -> TaskSpec:
    """The spec of a family in which nothing is drawn: its settings and seed 0."""
    return TaskSpec(family.family, to_settings(family))
