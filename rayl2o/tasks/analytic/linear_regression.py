"""Random linear regression with a known optimum (paper R's first task, in the form of its text)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.analytic.orthogonal import haar
from rayl2o.tasks.analytic.quadratic import Quadratic, QuadraticBatch
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_exponents, require_one_of, require_within
from rayl2o.tasks.settings import to_settings
from rayl2o.tasks.specs import seeded_spec

VARIANTS = ("paper", "code")


@dataclass(frozen=True)
class LinearRegression:
    """Random linear regression 1/2 |A x - b|^2 with x0 ~ N(0, 1); the eigenvalues of A'A are 10^U(log10_smallest, log10_largest).

    R's text says that A and b are random and leaves the rest to its code, so the spectrum is the code's in both variants.
    ``paper``: A has Haar bases on both sides and b ~ N(0, 1); the least loss is what of b lies outside the range of A, 0 where
    A is square, and the optimum is of size 1 / sqrt(eigenvalue) along an eigenvector.
    ``code``: the task ``quadratic`` with the same seed, 1/2 x'Hx + v'x + const with v ~ N(0, 1) and minimum 0; the optimum is of
    size 1 / eigenvalue, so flat directions carry much more of the loss (R's notebook trains on this one).

    Attributes:
        size: n, the number of coordinates.
        rows: m, rows of A; 0 takes ``size``. The variant ``code`` has no rows.
        log10_smallest, log10_largest: Range of the exponent of an eigenvalue.
        variant: ``paper`` or ``code``.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "linear-regression"

    size: int = 5
    rows: int = 0
    log10_smallest: float = -3.0
    log10_largest: float = 0.0
    variant: str = "paper"

    def __post_init__(self) -> None:
        require_within("linear-regression.size", self.size, 1)
        require_exponents(self.family, self.log10_smallest, self.log10_largest)
        require_one_of("variant of linear-regression", self.variant, VARIANTS)
        if self.rows and self.variant == "code":
            mend = "leave rows out, or use variant=paper"
            raise UserError("linear-regression has no rows in the variant 'code'", value=self.rows, mend=mend)
        if self.rows and self.rows < self.size:
            mend = f"use {self.size} (linear-regression.size) or more, or 0 for as many"
            raise UserError("setting linear-regression.rows is out of range", value=self.rows, mend=mend)

    @property
    def layout(self) -> Layout:
        """One vector of ``size`` coordinates."""
        return Layout.flat(self.size)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws A and b."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> LeastSquaresBatch | QuadraticBatch:
        """K problems side by side, each drawn in float64 from its spec's seed; both kinds of batch have an ``optimum``.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        if self.variant == "code":
            quadratic = Quadratic(self.size, self.log10_smallest, self.log10_largest)
            alike = [TaskSpec(Quadratic.family, to_settings(quadratic), spec.seed) for spec in specs]
            return quadratic.build(alike, device, dtype)
        drawn = [_draw(self, spec.seed) for spec in specs]
        matrix, target = (torch.stack(parts).to(device, dtype) for parts in zip(*drawn, strict=True))
        return LeastSquaresBatch(self.layout, matrix, target, scale=0.5, init_std=1.0)


def _draw(family: LinearRegression, seed: int) -> tuple[Tensor, Tensor]:
    """A ``[m, n]`` and b ``[m]`` of one problem, float64."""
    rng = seeded(LinearRegression.family, seed)
    n, low, high = family.size, family.log10_smallest, family.log10_largest
    m = family.rows or n
    span = torch.rand(n, generator=rng, dtype=torch.float64)
    singular = torch.exp(math.log(10) / 2 * (low + (high - low) * span))
    left, right = haar(m, n, rng), haar(n, n, rng)
    return left * singular @ right.T, torch.randn(m, generator=rng, dtype=torch.float64)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "linear-regression": NamedTask(
            "linear-regression", {}, "Linear regression of R: 5 params, log-uniform spectrum", paper="R"
        )
    }
)
