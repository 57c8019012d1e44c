"""Reparametrisation: random units for the whole task or each tensor (Metz et al.), random signs, random rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.seeds import generator
from rayl2o.tasks.augment.base import Instances, rows
from rayl2o.tasks.augment.linear import Diagonal, LinearBatch, Reflections
from rayl2o.tasks.augment.log_uniform import log_uniform, require_factors
from rayl2o.tasks.base import TaskBatch

LEVELS = ("global", "tensor", "parameter")
MIXED = "mixed"
VELO_LEVELS = ("none", "none", "global", "global", "tensor", "tensor", "parameter")
"""VeLO's mixture, drawn uniformly for each task; Celo has the same list."""
VELO_SHARES = (1.0, 2 / 3, 1 / 3)
"""VeLO draws the range too, from 1e-3..1e3, 1e-2..1e2 and 1e-1..1e1: these shares of the widest one's exponents."""


@dataclass(frozen=True)
class Reparametrisation:
    """x = S Q y, and y0 = Q' S^-1 x0: the same function, with other units and other axes for the optimizer.

    S is diagonal: one factor for all coordinates, for each tensor, or for each coordinate, log-uniform in smallest..largest
    (``ReparamWeights`` of google/learned_optimization, whose range is 0.01..100; Celo's default is ``global`` and 0.001..1000),
    times a random sign if wanted. ``mixed`` draws the level for each task as VeLO does, and with 0.001..1000 the range too.

    Q (ours) is a product of Householder reflections inside each tensor. It takes away the axes that coordinate-wise and diagonal
    methods lean on; sparsity and dead coordinates are gone. S stands outside Q, so that Q turns the axes of S too.

    Attributes:
        level: ``global``, ``tensor``, ``parameter`` or ``mixed``.
        smallest, largest: Range of a factor's magnitude.
        signs: Whether each factor has a random sign, at its level. Only a rule that is odd in the gradient does not notice.
        reflections: How many reflections make Q; 0 for none. Each costs about three passes over params, and K x D numbers.

    Raises:
        UserError: If the level is unknown or a number is out of range.
    """

    kind: ClassVar[str] = "reparametrisation"

    level: str = "tensor"
    smallest: float = 0.01
    largest: float = 100.0
    signs: bool = False
    reflections: int = 0

    def __post_init__(self) -> None:
        if self.level not in (*LEVELS, MIXED):
            raise unknown_name("level of a reparametrisation", self.level, (*LEVELS, MIXED))
        require_factors("reparametrisation", self.smallest, self.largest)
        if not 0 <= self.reflections <= 64:
            raise UserError(
                "reflections of the reparametrisation out of range", value=self.reflections, mend="use 0..64"
            )

    def layout(self, inner: Layout) -> Layout:
        """As the inner one."""
        return inner

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """Gradients become Q' S g, Hessians Q' S H S Q."""
        seeds, device, layout = instances.seeds, instances.device, batch.layout

        def scales(dtype: torch.dtype) -> Diagonal:
            return Diagonal(rows(seeds, lambda seed: self._factors(layout, seed)).to(device, dtype))

        def turns(dtype: torch.dtype) -> Reflections:
            normals = rows(seeds, lambda seed: self._normals(layout, seed)).to(device, dtype)
            return Reflections(normals.unbind(1), layout.sizes)

        scaled = LinearBatch(batch, instances.dtype, scales)
        return LinearBatch(scaled, instances.dtype, turns) if self.reflections else scaled

    def _factors(self, layout: Layout, seed: int) -> Tensor:
        """The diagonal of S, float64 ``[D]``."""
        rng = generator(self.kind, "factors", seed)
        level, share = self.level, 1.0
        if level == MIXED:
            level = VELO_LEVELS[int(torch.randint(len(VELO_LEVELS), (), generator=rng))]
            share = VELO_SHARES[int(torch.randint(len(VELO_SHARES), (), generator=rng))]
        count = {"none": 1, "global": 1, "tensor": layout.tensors, "parameter": layout.size}[level]
        drawn = log_uniform(self.smallest**share, self.largest**share, count, rng)
        if level == "none":
            drawn = torch.ones_like(drawn)
        if self.signs:
            coins = torch.randint(2, (count,), generator=generator(self.kind, "signs", seed))
            drawn = drawn * (2 * coins - 1)
        return drawn[layout.tensor_index()] if level == "tensor" else drawn.expand(layout.size)

    def _normals(self, layout: Layout, seed: int) -> Tensor:
        """Unit vectors in each tensor, float64 ``[reflections, D]``."""
        rng = generator(self.kind, "reflections", seed)
        drawn = torch.randn(self.reflections, layout.size, generator=rng, dtype=torch.float64)
        parts = torch.split(drawn, list(layout.sizes), dim=1)
        return torch.cat([part / part.norm(dim=1, keepdim=True) for part in parts], dim=1)
