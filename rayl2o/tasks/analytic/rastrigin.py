"""Generalised Rastrigin functions: a random quadratic with cosine waves on it (P1 of paper S)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.analytic.composite import CompositeBatch
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.analytic.terms import Waves
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import seeded_spec

SIZES: Mapping[str, int] = MappingProxyType({"paper": 10, "code": 2})
"""n of each variant."""


@dataclass(frozen=True)
class Rastrigin:
    """Random Rastrigin functions of n coordinates; A ``[n, n]``, b, c and x0 ~ N(0, 1), the first three fresh per problem.

    ``paper`` (S, equation 4): |Ax + b|^2 + 0.5 c'cos(x), n = 10: waves so long and low that they show only where A is flat.
    ``code`` (S, the TF1 tree only): 1/2 |Ax - b|^2 - 10 c'cos(2 pi x) + 10 n, n = 2: many local minima, and where a c is
    negative its coordinate's waves are turned over. The published code optimizes the mean over 128 such problems as one; here
    a spec is one problem, so its gradients are 128 times larger. The paper leaves the start open; N(0, 1) is the code's.

    Losses may be negative: c has both signs, and nothing shifts the minimum, which no formula gives, to 0.

    Attributes:
        size: n; 0 takes the source's, 10 or 2.
        variant: ``paper`` or ``code``.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "rastrigin"

    size: int = 0
    variant: str = "paper"

    def __post_init__(self) -> None:
        require_one_of("variant of rastrigin", self.variant, SIZES)
        require_within("rastrigin.size", self.size, 0)

    @property
    def layout(self) -> Layout:
        """One vector of n coordinates."""
        return Layout.flat(self.size or SIZES[self.variant])

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws A, b and c."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> CompositeBatch:
        """K functions side by side, each drawn in float64 from its spec's seed.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        n = self.layout.size
        drawn = [_draw(n, spec.seed) for spec in specs]
        matrix, offset, height = (torch.stack(parts).to(device, dtype) for parts in zip(*drawn, strict=True))
        if self.variant == "paper":
            bowl = LeastSquaresBatch(self.layout, matrix, -offset, scale=1.0, init_std=1.0)
            return CompositeBatch(bowl, Waves(0.5 * height, 1.0))
        bowl = LeastSquaresBatch(self.layout, matrix, offset, scale=0.5, init_std=1.0)
        return CompositeBatch(bowl, Waves(-10 * height, 2 * math.pi, 10.0 * n))


def _draw(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A ``[n, n]``, b and c ``[n]`` of one function, float64."""
    rng = seeded(Rastrigin.family, seed)
    drawn = torch.randn(n + 2, n, generator=rng, dtype=torch.float64)
    return drawn[:n], drawn[n], drawn[n + 1]


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "p1": NamedTask("rastrigin", {"variant": "paper"}, "P1 of S: a Rastrigin function of 10 params", paper="S"),
        "p1-code": NamedTask(
            "rastrigin", {"variant": "code"}, "P1 as S's TF1 code has it: 2 params, steep waves", paper="S"
        ),
    }
)
