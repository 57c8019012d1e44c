"""Instances with augmentations, and the same instances without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.augment.augmented import Augmented
from rayl2o.tasks.augment.base import Augmentation
from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.registry import build, family_of, task

QUADRATIC = Quadratic(size=6, log10_smallest=-1.0)
NETWORK = MLP(hidden=(4,), batch_size=8, init_std=0.3)


def make(name: str, settings: Mapping[str, Any]) -> TaskFamily:
    """A task by name; augmented ones whether the registry knows them or not."""
    return Augmented.compose(settings, make, build) if name == Augmented.family else task(name, **settings)


def made_by(spec: TaskSpec) -> TaskFamily:
    """The family of a spec; augmented ones whether the registry knows them or not."""
    return make(spec.family, spec.settings) if spec.family == Augmented.family else family_of(spec)


@dataclass(frozen=True)
class Pair:
    """K instances twice.

    Attributes:
        specs: Of the augmented ones.
        plain, augmented: Built of the same specs.
        family: Of the augmented ones.
    """

    specs: tuple[TaskSpec, ...]
    plain: TaskBatch
    augmented: TaskBatch
    family: Augmented

    def point(self, purpose: str, scale: float = 0.5) -> Tensor:
        """N(0, scale^2), float64 ``[K, D]``."""
        size = (self.augmented.k, self.augmented.layout.size)
        return scale * torch.randn(size, generator=generator("pair", purpose), dtype=torch.float64)


def pair(inner: TaskFamily, *steps: Augmentation, k: int = 3, dtype: torch.dtype = torch.float64) -> Pair:
    """K instances of ``inner`` with and without augmentations."""
    family, rng = Augmented(inner, steps), generator("pairs")
    specs = tuple(family.sample(rng) for _ in range(k))
    settings = inner.sample(rng).settings
    plain = [TaskSpec(inner.family, settings, derive_seed("augmented", "inner", spec.seed)) for spec in specs]
    return Pair(specs, inner.build(plain, dtype=dtype), family.build(specs, dtype=dtype), family)
