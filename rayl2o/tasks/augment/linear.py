"""Other coordinates for the same function: params of the inner task are a linear map of the params that are optimized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from rayl2o.tasks.augment.base import Wrapped, start
from rayl2o.tasks.base import Batch


class LinearMap(Protocol):
    """K invertible maps A, one per instance, on ``[K, D]``; differentiable."""

    def apply(self, y: Tensor) -> Tensor:
        """A y."""

    def transpose(self, x: Tensor) -> Tensor:
        """A' x."""

    def solve(self, x: Tensor) -> Tensor:
        """A^-1 x."""


@dataclass(frozen=True, eq=False)
class Diagonal:
    """x = s * y.

    Attributes:
        factor: s, ``[K, D]``, none of it 0.
    """

    factor: Tensor

    def apply(self, y: Tensor) -> Tensor:
        """s * y."""
        return self.factor * y

    def transpose(self, x: Tensor) -> Tensor:
        """s * x."""
        return self.factor * x

    def solve(self, x: Tensor) -> Tensor:
        """x / s."""
        return x / self.factor


@dataclass(frozen=True, eq=False)
class Reflections:
    """x = H_1 H_2 ... y with Householder reflections H = I - 2 u u' inside each tensor: an orthogonal map in O(D) per reflection.

    Attributes:
        normals: One ``[K, D]`` per reflection; the part of each tensor is a unit vector u.
        sizes: Coordinates per tensor.
    """

    normals: tuple[Tensor, ...]
    sizes: tuple[int, ...]

    def apply(self, y: Tensor) -> Tensor:
        """Q y."""
        return self._reflect(y, self.normals[::-1])

    def transpose(self, x: Tensor) -> Tensor:
        """Q' x."""
        return self._reflect(x, self.normals)

    def solve(self, x: Tensor) -> Tensor:
        """Q^-1 x, which is Q' x."""
        return self.transpose(x)

    def _reflect(self, values: Tensor, normals: Sequence[Tensor]) -> Tensor:
        for normal in normals:
            along = torch.split(normal * values, list(self.sizes), dim=1)
            length = torch.cat([part.sum(1, keepdim=True).expand(part.shape) for part in along], dim=1)
            values = values - 2 * normal * length
        return values


@dataclass(frozen=True, eq=False)
class LinearBatch(Wrapped):
    """K instances in other coordinates: f(A y), with gradient A' g and Hessian A' H A; the start is A^-1 x0.

    Attributes:
        dtype: Of params.
        maps: The maps in a dtype. They are drawn again in float64 for a start, rather than kept twice.
    """

    dtype: torch.dtype
    maps: Callable[[torch.dtype], LinearMap]

    @cached_property
    def _map(self) -> LinearMap:
        return self.maps(self.dtype)

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """The inner start in the new coordinates, so that the losses begin where they would."""
        inner = self.inner.init_params(seeds)
        return self.maps(torch.float64).solve(start(inner)).to(self.dtype)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """f(A y) ``[K]`` and A' g ``[K, D]``; no graph."""
        with torch.no_grad():
            loss, grad = self.inner.loss_and_grad(self._map.apply(params), batch)
            return loss, self._map.transpose(grad)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """A' H A v ``[K, D]``; no graph."""
        with torch.no_grad():
            product = self.inner.hvp(self._map.apply(params), batch, self._map.apply(vector))
            return self._map.transpose(product)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """f(A y) ``[K]``, differentiable twice in ``params``."""
        return self.inner.loss(self._map.apply(params), batch)
