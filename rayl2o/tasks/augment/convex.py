"""Combination with a convex function (Lv et al. 2017): a bowl of a few coordinates beside the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.seeds import generator
from rayl2o.tasks.augment.base import Instances, Wrapped, rows
from rayl2o.tasks.base import Batch, TaskBatch

VARIANTS = ("paper", "code")
CLIP = 10.0
"""Of a coordinate's squared distance, in the code."""


@dataclass(frozen=True)
class Convex:
    """f(x) + g(z) with g(z) = 1/n sum_i (z_i - v_i)^2 and v ~ U(-1, 1)^n drawn once per task: n coordinates are added.

    A coordinate-wise rule learns plain descent on z within its first updates, and uses it on x (Lv et al. 2017, combination with
    convex functions; n = 20).

    ``paper``: g as above, z0 ~ U(-1, 1)^n. ``code`` (the authors'): z0 = 0, and the squared distance of a coordinate is cut at
    10, where its gradient ends. There z has a random scaling of its own, exp(U(-1, 1)), beside that of x: ``scaling: 1.0``.

    Attributes:
        size: n.
        weight: Of g in the sum; 1 in the code.
        scaling: r: z = s * y with s = exp(U(-r, r)), y0 = z0 / s, and y is optimized. 0 for none.
        variant: ``paper`` or ``code``.

    Raises:
        UserError: If the variant is unknown or a number is out of range.
    """

    kind: ClassVar[str] = "convex"

    size: int = 20
    weight: float = 1.0
    scaling: float = 0.0
    variant: str = "paper"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("variant of the convex term", self.variant, VARIANTS)
        if self.size < 1:
            raise UserError("size of the convex term is too small", value=self.size, mend="use 1 or more; 20 is usual")
        if not 0 < self.weight <= 1e12:
            raise UserError(
                "weight of the convex term out of range", value=self.weight, mend="use a number in (0, 1e12]"
            )
        if not 0 <= self.scaling <= 30:
            raise UserError("scaling of the convex term out of range", value=self.scaling, mend="use a number in 0..30")

    def layout(self, inner: Layout) -> Layout:
        """The inner one and a vector ``convex [n]`` (``convex_2`` if there is one already)."""
        names = ("convex", *(f"convex_{i}" for i in range(2, len(inner.names) + 2)))
        name = next(name for name in names if name not in inner.names)
        return Layout((*inner.names, name), (*inner.shapes, (self.size,)), (*inner.kinds, "weight"), (*inner.depths, 0))

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """Params ``[x, y]``; the minibatches are those of f."""
        centre, spread = (self._rows(what, instances) for what in ("centre", "scaling"))
        return ConvexBatch(batch, self, centre, torch.exp(self.scaling * spread), instances.dtype)

    def start(self, seed: int) -> Tensor:
        """z0, float64 ``[n]``, from the seed of an initialisation."""
        return self._uniform("start", seed) if self.variant == "paper" else torch.zeros(self.size, dtype=torch.float64)

    def _rows(self, what: str, instances: Instances) -> Tensor:
        return rows(instances.seeds, lambda seed: self._uniform(what, seed)).to(instances.device)

    def _uniform(self, what: str, seed: int) -> Tensor:
        """U(-1, 1), float64 ``[n]``."""
        return 2 * torch.rand(self.size, generator=generator(self.kind, what, seed), dtype=torch.float64) - 1


@dataclass(frozen=True, eq=False)
class ConvexBatch(Wrapped):
    """K instances of f(x) + weight g(s * y), on params ``[x, y]``.

    Attributes:
        term: Its settings.
        centre: v, float64 ``[K, n]``.
        factor: s, float64 ``[K, n]``.
        dtype: Of params.
    """

    term: Convex
    centre: Tensor
    factor: Tensor
    dtype: torch.dtype

    @property
    def layout(self) -> Layout:
        """The inner one and a vector."""
        return self.term.layout(self.inner.layout)

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """``[x0, z0 / s]``, ``[K, D + n]``."""
        inner = self.inner.init_params(seeds)
        z = rows(seeds, self.term.start).to(self.factor.device)
        return torch.cat((inner, (z / self.factor).to(self.dtype)), dim=1)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """f + weight g ``[K]``, and the gradients of both side by side ``[K, D + n]``; no graph."""
        with torch.no_grad():
            x, y = self._split(params)
            loss, grad = self.inner.loss_and_grad(x, batch)
            gap = self._gap(y)
            slope = self._slope(gap) * gap
            return loss + self._bowl(gap), torch.cat((grad, slope), dim=1)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """The products of both side by side ``[K, D + n]``; no graph."""
        with torch.no_grad():
            (x, y), (along_x, along_y) = self._split(params), self._split(vector)
            product = self.inner.hvp(x, batch, along_x)
            return torch.cat((product, self._slope(self._gap(y)) * self._factor * along_y), dim=1)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """f + weight g ``[K]``, differentiable twice in ``params``."""
        x, y = self._split(params)
        return self.inner.loss(x, batch) + self._bowl(self._gap(y))

    @cached_property
    def _factor(self) -> Tensor:
        return self.factor.to(self.dtype)

    @cached_property
    def _centre(self) -> Tensor:
        return self.centre.to(self.dtype)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """x, contiguous because tasks view it, and y."""
        return params[:, : -self.term.size].contiguous(), params[:, -self.term.size :]

    def _gap(self, y: Tensor) -> Tensor:
        """z - v, ``[K, n]``."""
        return self._factor * y - self._centre

    def _bowl(self, gap: Tensor) -> Tensor:
        """weight g, ``[K]``."""
        squares = gap.square() if self.term.variant == "paper" else gap.square().clamp(max=CLIP)
        return self.term.weight * squares.mean(1)

    def _slope(self, gap: Tensor) -> Tensor:
        """d(weight g)/dy = slope * gap, ``[K, n]``; 0 where the code cuts."""
        slope = 2 * self.term.weight / self.term.size * self._factor
        return slope if self.term.variant == "paper" else torch.where(gap.square() <= CLIP, slope, 0.0)
