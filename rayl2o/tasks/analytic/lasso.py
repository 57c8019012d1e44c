"""Lasso: sparse linear regression, a convex task with kinks."""

from __future__ import annotations

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
from rayl2o.tasks.analytic.terms import Absolute
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.specs import seeded_spec


@dataclass(frozen=True)
class Lasso:
    """Random lasso problems 1/2 |Ax - b|^2 + l1 |x|_1 with a sparse signal behind them.

    As of Liu et al. 2023 (*Towards constituting mathematical structures for learning to optimize*) and its code: A ~ N(0, 1) with
    columns then scaled to length 1, b = A s without noise, s with ``nonzeros`` normal entries at random places. There x starts at
    0, where every start is the same; here x0 ~ N(0, init_std^2), and ``init_std`` 0 is theirs.

    The gradient at a coordinate of exactly 0 takes 0 as the subgradient of its absolute value, and Hessian-vector products are
    those of the smooth part, which is all the curvature there is away from the kinks.

    Attributes:
        size: n, coordinates of x.
        rows: m, rows of A.
        nonzeros: Of the signal.
        l1: Strength of the penalty.
        init_std: Of the start.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "lasso"

    size: int = 500
    rows: int = 250
    nonzeros: int = 50
    l1: float = 0.1
    init_std: float = 0.01

    def __post_init__(self) -> None:
        require_within("lasso.size", self.size, 1)
        require_within("lasso.rows", self.rows, 1)
        require_within("lasso.l1", self.l1, 0)
        require_within("lasso.init_std", self.init_std, 0)
        require_within("lasso.nonzeros", self.nonzeros, 1, self.size)

    @property
    def layout(self) -> Layout:
        """One vector of ``size`` coordinates."""
        return Layout.flat(self.size)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws A and the signal."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> CompositeBatch:
        """K problems side by side, each drawn in float64 from its spec's seed.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        drawn = [_draw(self, spec.seed) for spec in specs]
        matrix, target = (torch.stack(parts).to(device, dtype) for parts in zip(*drawn, strict=True))
        smooth = LeastSquaresBatch(self.layout, matrix, target, scale=0.5, init_std=self.init_std)
        return CompositeBatch(smooth, Absolute(self.l1))


def _draw(family: Lasso, seed: int) -> tuple[Tensor, Tensor]:
    """A ``[m, n]`` and b ``[m]`` of one problem, float64."""
    rng = seeded(Lasso.family, seed)
    matrix = torch.randn(family.rows, family.size, generator=rng, dtype=torch.float64)
    matrix = matrix / torch.linalg.vector_norm(matrix, dim=0)
    places = torch.randperm(family.size, generator=rng)[: family.nonzeros]
    signal = torch.randn(family.nonzeros, generator=rng, dtype=torch.float64)
    return matrix, matrix[:, places] @ signal


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "lasso": NamedTask("lasso", {}, "Lasso of Liu et al. 2023: 500 params, 250 rows, 50 nonzeros"),
        "lasso-small": NamedTask(
            "lasso",
            {"size": 40, "rows": 20, "nonzeros": 5},
            "Lasso, the toy size of the same authors: 40 params, 20 rows, 5 nonzeros",
            twin_of="lasso",
        ),
    }
)
