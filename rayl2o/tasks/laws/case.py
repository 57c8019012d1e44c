"""What the laws are tried on: a few instances of a family, generic points near and far from their starts, a minibatch each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import derive_seed
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import Batch, TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.settings import from_settings

Resolve = Callable[[TaskSpec], TaskFamily]
"""The family that a spec names, with its settings; ``registry.family_of`` in effect, which this package must not import."""

LARGE = 50_000
"""Coordinates above which a family is not evaluated at run time: two float64 instances would take seconds."""
_NEAR, _FAR = 0.1, 0.3


@dataclass(frozen=True, eq=False)
class Case:
    """Instances of one family, in float64 unless told otherwise; everything is made when first asked for.

    Attributes:
        family: What is tried.
        resolve: Finds the family of a spec; by default specs are of the family's own class.
        k: Instances; at least 2, or none could depend on another.
    """

    family: TaskFamily
    resolve: Resolve | None = None
    k: int = 2

    def family_of(self, spec: TaskSpec) -> TaskFamily:
        """The family that a spec names, with its settings.

        Raises:
            UserError: If there is none, or it refuses the settings.
        """
        if self.resolve is not None:
            return self.resolve(spec)
        family: TaskFamily = from_settings(type(self.family), spec.settings, spec.family)
        return family

    @cached_property
    def specs(self) -> tuple[TaskSpec, ...]:
        """K draws of one family with one set of settings: those of the first draw."""
        draws = seeded("laws", "specs")
        first = self.family.sample(draws)
        kin = self.family_of(first)
        return (first, *(kin.sample(draws) for _ in range(self.k - 1)))

    @cached_property
    def large(self) -> bool:
        """Whether an instance has more than :data:`LARGE` coordinates. Builds one if the family does not say."""
        layout = getattr(self.family, "layout", None)
        if not isinstance(layout, Layout):
            layout = self.family.build(self.specs[:1]).layout
        return layout.size > LARGE

    def build(self, specs: Sequence[TaskSpec] | None = None, dtype: torch.dtype = torch.float64) -> TaskBatch:
        """Fresh instances of these specs, the case's own by default.

        Raises:
            UserError: If the data cannot be read.
        """
        return self.family.build(self.specs if specs is None else specs, dtype=dtype)

    @cached_property
    def tasks(self) -> TaskBatch:
        """The case's instances."""
        return self.build()

    @cached_property
    def seeds(self) -> list[int]:
        """A seed per instance, all different."""
        return [derive_seed("laws", row) for row in range(self.k)]

    @cached_property
    def start(self) -> Tensor:
        """Fresh params ``[K, D]``."""
        return self.tasks.init_params(self.seeds)

    @cached_property
    def batch(self) -> Batch:
        """A minibatch per instance."""
        return self.tasks.draw_batch(self.seeds)

    def noise(self, purpose: str) -> Tensor:
        """N(0, 1), float64 ``[K, D]``."""
        return torch.randn(*self.start.shape, generator=seeded("laws", purpose), dtype=torch.float64)

    @cached_property
    def vector(self) -> Tensor:
        """A direction ``[K, D]``, N(0, 1)."""
        return self.noise("vector")

    @cached_property
    def near(self) -> Tensor:
        """The start, each tensor moved by a tenth of its size, so that no kink or symmetry of the start is met exactly."""
        scale = torch.ones_like(self.start)
        for begin, size in zip(self.tasks.layout.offsets, self.tasks.layout.sizes, strict=True):
            block = self.start[:, begin : begin + size]
            rms = block.square().mean(1, keepdim=True).sqrt()
            scale[:, begin : begin + size] = torch.where(rms > 0, rms, torch.ones_like(rms))
        return self.start + _NEAR * scale * self.noise("near")

    @cached_property
    def points(self) -> dict[str, Tensor]:
        """Where derivatives are tried: near the start, and 0.3 from it in every coordinate, where curvature shows, unless
        the task is not finite there.
        """
        far = self.start + _FAR * self.noise("far")
        loss, grad = self.tasks.loss_and_grad(far, self.batch)
        points = {"near its start": self.near}
        if bool(torch.isfinite(loss).all()) and bool(torch.isfinite(grad).all()):
            points["away from its start"] = far
        return points
