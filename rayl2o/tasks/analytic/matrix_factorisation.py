"""A matrix as the product of two thin ones: non-convex, with saddles, and an optimum that the singular values give."""

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
from rayl2o.tasks.base import Batch, TaskSpec
from rayl2o.tasks.instances import normal_rows, require_one_each, require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.specs import seeded_spec


@dataclass(frozen=True)
class MatrixFactorisation:
    """Mean squared error of U V' as an approximation of a random M, over the entries of M that are observed.

    M = A B' / sqrt(true_rank) + noise Z with A, B and Z ~ N(0, 1), so entries of its low-rank part have variance 1. U and V
    start from N(0, init_std^2), near the saddle at 0. With all entries observed the least loss is the mean square that the
    best approximation of rank ``rank`` leaves (Eckart and Young), and every local minimum is global.

    Attributes:
        rows, columns: Of M.
        rank: Columns of U and V.
        true_rank: Of M without the noise; 0 takes ``rank``.
        noise: Standard deviation of what is added to each entry of M.
        observed: Share of the entries that count, the same number in every task, at random places.
        init_std: Of the start.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "matrix-factorisation"

    rows: int = 30
    columns: int = 20
    rank: int = 3
    true_rank: int = 0
    noise: float = 0.0
    observed: float = 1.0
    init_std: float = 0.1

    def __post_init__(self) -> None:
        require_within("matrix-factorisation.rows", self.rows, 1)
        require_within("matrix-factorisation.columns", self.columns, 1)
        require_within("matrix-factorisation.rank", self.rank, 1, min(self.rows, self.columns))
        require_within("matrix-factorisation.true_rank", self.true_rank, 0, min(self.rows, self.columns))
        require_within("matrix-factorisation.noise", self.noise, 0)
        require_within("matrix-factorisation.observed", self.observed, 0, 1, above=True)
        require_within("matrix-factorisation.init_std", self.init_std, 0)

    @property
    def layout(self) -> Layout:
        """``left [rows, rank]`` (U) and ``right [columns, rank]`` (V)."""
        shapes = ((self.rows, self.rank), (self.columns, self.rank))
        return Layout(("left", "right"), shapes, ("weight", "weight"), (0, 0))

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws M and which entries are observed."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> MatrixFactorisationBatch:
        """K factorisations side by side, each drawn in float64 from its spec's seed.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        drawn = [_draw(self, spec.seed) for spec in specs]
        target, seen = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        complete = bool(seen.all())
        bound = target.new_zeros(len(specs))
        if complete:
            bound = torch.linalg.svdvals(target)[:, self.rank :].square().sum(1) / target[0].numel()
        mask = None if complete else seen.to(device, dtype)
        bound, target = bound.to(device, dtype), target.to(device, dtype)
        return MatrixFactorisationBatch(self.layout, target, mask, int(seen[0].sum()), bound, self.init_std)


@dataclass(frozen=True, eq=False)
class MatrixFactorisationBatch:
    """K factorisations; gradient and curvature in closed form.

    Attributes:
        layout: U and V.
        target: M, ``[K, rows, columns]``.
        mask: 1 where M is observed and 0 elsewhere, ``[K, rows, columns]``; None where all of it is.
        count: Observed entries, as many in every instance.
        lower_bound: ``[K]``; no loss is below it. It is the least loss itself where everything is observed; 0 otherwise, which is
            attained without noise if ``rank`` is at least that of M.
        init_std: Of the start.
    """

    layout: Layout
    target: Tensor
    mask: Tensor | None
    count: int
    lower_bound: Tensor
    init_std: float

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.target.shape[0]

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """U and V ~ N(0, init_std^2), ``[K, D]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        return normal_rows(seeds, self.layout.size, self.init_std).to(self.target)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None: there is no data."""
        require_one_each(seeds, self.k)
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        with torch.no_grad():
            left, right = self._factors(params)
            error = self._error(left, right)
            grad = torch.cat(((error @ right).flatten(1), (error.mT @ left).flatten(1)), 1)
            return error.square().sum((1, 2)) / self.count, grad.mul_(2 / self.count)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:  # noqa: ARG002
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph."""
        with torch.no_grad():
            (left, right), (along_left, along_right) = self._factors(params), self._factors(vector)
            error = self._error(left, right)
            change = self._seen(along_left @ right.mT + left @ along_right.mT)
            on_left = change @ right + error @ along_right
            on_right = change.mT @ left + error.mT @ along_left
            return torch.cat((on_left.flatten(1), on_right.flatten(1)), 1).mul_(2 / self.count)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self._error(*self._factors(params)).square().sum((1, 2)) / self.count

    def _factors(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """U ``[K, rows, rank]`` and V ``[K, columns, rank]``."""
        left, right = self.layout.unflatten(params).values()
        return left, right

    def _error(self, left: Tensor, right: Tensor) -> Tensor:
        """U V' - M where M is observed, 0 elsewhere."""
        return self._seen(torch.baddbmm(self.target, left, right.mT, beta=-1))

    def _seen(self, matrix: Tensor) -> Tensor:
        return matrix if self.mask is None else matrix * self.mask


def _draw(family: MatrixFactorisation, seed: int) -> tuple[Tensor, Tensor]:
    """M, float64, and which of its entries are observed, bool, of one task; both ``[rows, columns]``."""
    rng = seeded(MatrixFactorisation.family, seed)
    rows, columns, rank = family.rows, family.columns, family.true_rank or family.rank
    left = torch.randn(rows, rank, generator=rng, dtype=torch.float64)
    right = torch.randn(columns, rank, generator=rng, dtype=torch.float64)
    noise = torch.randn(rows, columns, generator=rng, dtype=torch.float64)
    count = max(1, round(family.observed * rows * columns))
    seen = torch.zeros(rows * columns, dtype=torch.bool)
    seen[torch.randperm(rows * columns, generator=rng)[:count]] = True
    return left @ right.T / math.sqrt(rank) + family.noise * noise, seen.reshape(rows, columns)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "matrix-completion": NamedTask(
            "matrix-factorisation",
            {"observed": 0.5, "noise": 0.1},
            "Matrix of rank 3 from half of its entries with noise: 150 params",
        ),
    }
)
