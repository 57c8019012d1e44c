"""Random quadratics with a known optimum (paper R's first task, in the form of its code)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.analytic.orthogonal import haar
from rayl2o.tasks.base import Batch, TaskSpec
from rayl2o.tasks.instances import normal_rows, require_one_each, require_same
from rayl2o.tasks.specs import seeded_spec


@dataclass(frozen=True)
class Quadratic:
    """Random quadratics 1/2 x'Hx + v'x + const with minimum 0, where x0 and v ~ N(0, 1).

    H has a random orthogonal basis (Haar) and eigenvalues 10^U(log10_smallest, log10_largest). There is no data.

    Attributes:
        size: n, the number of coordinates.
        log10_smallest, log10_largest: Range of the exponent of an eigenvalue.

    Raises:
        UserError: If ``size`` is not positive or the range is empty or not finite.
    """

    family: ClassVar[str] = "quadratic"

    size: int = 5
    log10_smallest: float = -3.0
    log10_largest: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError("setting quadratic.size is too small", value=self.size, mend="use 1 or more")
        if not -30 <= self.log10_smallest <= self.log10_largest <= 30:
            value = (self.log10_smallest, self.log10_largest)
            mend = "use log10_smallest <= log10_largest, both within -30..30"
            raise UserError("eigenvalue range of the quadratic is bad", value=value, mend=mend)

    @property
    def layout(self) -> Layout:
        """One vector of ``size`` coordinates."""
        return Layout.flat(self.size)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws H and v."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> QuadraticBatch:
        """K quadratics side by side, each drawn in float64 from its spec's seed.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        drawn = {seed: _draw(self, seed) for seed in dict.fromkeys(spec.seed for spec in specs)}
        rows = [drawn[spec.seed] for spec in specs]
        factors, optima = (torch.stack(parts).to(device, dtype) for parts in zip(*rows, strict=True))
        return QuadraticBatch(self.layout, factors, optima)


@dataclass(frozen=True, eq=False)
class QuadraticBatch:
    """K quadratics 1/2 |R (x - optimum)|^2, so that H = R'R. In this form the loss cannot cancel below 0 in float32.

    Attributes:
        layout: One vector.
        factor: R, ``[K, n, n]``.
        optimum: ``[K, n]``, where the loss is 0.
    """

    layout: Layout
    factor: Tensor
    optimum: Tensor

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.optimum.shape[0]

    @property
    def hessian(self) -> Tensor:
        """H, ``[K, n, n]``."""
        return self.factor.mT @ self.factor

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """x0 ~ N(0, 1), ``[K, n]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        return normal_rows(seeds, self.layout.size, 1.0).to(self.optimum)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None: there is no data."""
        require_one_each(seeds, self.k)
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Losses ``[K]`` and gradients ``[K, n]``; no graph."""
        with torch.no_grad():
            scaled = self.factor @ (params - self.optimum).unsqueeze(-1)
            grad = self.factor.mT @ scaled
            return scaled.square().sum((1, 2)) / 2, grad.squeeze(-1)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:  # noqa: ARG002
        """H times ``vector [K, n]``; no graph."""
        with torch.no_grad():
            return (self.factor.mT @ (self.factor @ vector.unsqueeze(-1))).squeeze(-1)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Losses ``[K]``, differentiable twice in ``params [K, n]``."""
        return (self.factor @ (params - self.optimum).unsqueeze(-1)).square().sum((1, 2)) / 2


def _draw(family: Quadratic, seed: int) -> tuple[Tensor, Tensor]:
    """R and the optimum of one quadratic, float64."""
    rng = seeded("quadratic", seed)
    n, low, high = family.size, family.log10_smallest, family.log10_largest
    span = torch.rand(n, generator=rng, dtype=torch.float64)
    eigenvalues = torch.exp(math.log(10) * (low + (high - low) * span))
    basis = haar(n, n, rng)
    slope = torch.randn(n, generator=rng, dtype=torch.float64)
    return eigenvalues.sqrt().unsqueeze(1) * basis.T, -basis @ ((basis.T @ slope) / eigenvalues)
