"""K least-squares problems in the A, b form, by closed-form gradient and curvature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch
from rayl2o.tasks.instances import normal_rows, require_one_each


@dataclass(frozen=True, eq=False)
class LeastSquaresBatch:
    """K functions ``scale |A x - b|^2`` without data.

    Attributes:
        layout: One vector of n coordinates.
        matrix: A, ``[K, m, n]``.
        target: b, ``[K, m]``.
        scale: Before the squared norm: 1/2 or 1, as the source writes it.
        init_std: x0 ~ N(0, init_std^2).
    """

    layout: Layout
    matrix: Tensor
    target: Tensor
    scale: float
    init_std: float

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.matrix.shape[0]

    @cached_property
    def optimum(self) -> Tensor:
        """``[K, n]``, where the loss is least (the one nearest to 0 where there are several); solved in float64."""
        inverse: Tensor = torch.linalg.pinv(self.matrix.double())
        return (inverse @ self.target.double().unsqueeze(-1)).squeeze(-1).to(self.matrix)

    @cached_property
    def minimum(self) -> Tensor:
        """The least loss, ``[K]``: what of b lies outside the range of A, computed in float64."""
        exact = LeastSquaresBatch(self.layout, self.matrix.double(), self.target.double(), self.scale, self.init_std)
        return exact.loss(exact.optimum, None).to(self.matrix)

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """x0, ``[K, n]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        return normal_rows(seeds, self.layout.size, self.init_std).to(self.matrix)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None: there is no data."""
        require_one_each(seeds, self.k)
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Losses ``[K]`` and gradients ``[K, n]``; no graph."""
        with torch.no_grad():
            residual = self._residual(params)
            grad = (self.matrix.mT @ residual).squeeze(-1).mul_(2 * self.scale)
            return residual.square().sum((1, 2)).mul_(self.scale), grad

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:  # noqa: ARG002
        """``2 scale A'A`` times ``vector [K, n]``; no graph."""
        with torch.no_grad():
            product = self.matrix.mT @ (self.matrix @ vector.unsqueeze(-1))
            return product.squeeze(-1).mul_(2 * self.scale)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Losses ``[K]``, differentiable twice in ``params [K, n]``."""
        return self.scale * self._residual(params).square().sum((1, 2))

    def _residual(self, params: Tensor) -> Tensor:
        """A x - b, ``[K, m, 1]``."""
        return self.matrix @ params.unsqueeze(-1) - self.target.unsqueeze(-1)
