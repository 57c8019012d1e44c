"""How most families make a spec: their settings, and a seed if there is anything to draw."""

from __future__ import annotations

from typing import Any

import torch

from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.settings import to_settings


def fresh_seed(generator: torch.Generator) -> int:
    """A 63-bit seed of a spec."""
    return int(torch.randint(2**63 - 1, (), generator=generator))


def seeded_spec(family: Any, generator: torch.Generator) -> TaskSpec:
    """A spec with the settings of ``family`` and a fresh seed."""
    return TaskSpec(family.family, to_settings(family), fresh_seed(generator))


def only_spec(family: Any) -> TaskSpec:
    """The spec of a family in which nothing is drawn: its settings and seed 0."""
    return TaskSpec(family.family, to_settings(family))
