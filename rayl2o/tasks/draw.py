"""Drawing tasks that can be built together, and one of every kind that a family may draw."""

from __future__ import annotations

import torch

from rayl2o.tasks.base import TaskFamily, TaskSpec
from rayl2o.tasks.mixture import Mixture
from rayl2o.tasks.registry import family_of


def sample_alike(family: TaskFamily, generator: torch.Generator, k: int) -> tuple[TaskSpec, ...]:
    """K specs of one family with one set of settings, as a slot needs them.

    A family that draws its settings (widths, depths, parts of a mixture) gives specs of a concrete family. The first draw
    decides that family and its settings, the others are drawn from it.
    """
    first = family.sample(generator)
    if k == 1:
        return (first,)
    kin = family_of(first)
    return (first, *(kin.sample(generator) for _ in range(k - 1)))


def one_of_each(family: TaskFamily) -> tuple[TaskSpec, ...]:
    """A spec of every part of a mixture, or of the family itself: building them shows whether all data are there."""
    parts = [part.family for part in family.components] if isinstance(family, Mixture) else [family]
    return tuple(part.sample(torch.Generator()) for part in parts)
