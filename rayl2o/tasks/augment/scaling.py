"""Random scaling of coordinates (Lv et al. 2017): each coordinate gets a unit of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import generator
from rayl2o.tasks.augment.base import Instances, rows
from rayl2o.tasks.augment.linear import Diagonal, LinearBatch
from rayl2o.tasks.base import TaskBatch


@dataclass(frozen=True)
class Scaling:
    """x = s * y with s = exp(U(low, high)) for each coordinate, drawn once per task; y is optimized from y0 = x0 / s.

    A rule that memorised the size of one task's params or gradients is of no use here (Lv et al. 2017, random scaling; -3..3,
    drawn for each trajectory, in the authors' code and in T's, where it is off by default). S's PyTorch code has another thing
    under this name: at every step it multiplies the params in place by fresh factors. That moves the optimizer's own iterate,
    so it is no task.

    Attributes:
        low, high: Range of the natural logarithm of a factor.

    Raises:
        UserError: If the range is empty or not within -30..30.
    """

    kind: ClassVar[str] = "scaling"

    low: float = -3.0
    high: float = 3.0

    def __post_init__(self) -> None:
        if not -30 <= self.low <= self.high <= 30:
            mend = "use low <= high, both within -30..30"
            raise UserError("range of the scaling is bad", value=(self.low, self.high), mend=mend)

    def layout(self, inner: Layout) -> Layout:
        """As the inner one."""
        return inner

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """Gradients become s * g, Hessians S H S."""

        def maps(dtype: torch.dtype) -> Diagonal:
            return Diagonal(self._factors(batch.layout.size, instances.seeds).to(instances.device, dtype))

        return LinearBatch(batch, instances.dtype, maps)

    def _factors(self, size: int, seeds: tuple[int, ...]) -> Tensor:
        """s, float64 ``[K, D]``."""

        def draw(seed: int) -> Tensor:
            share = torch.rand(size, generator=generator(self.kind, seed), dtype=torch.float64)
            return torch.exp(self.low + (self.high - self.low) * share)

        return rows(seeds, draw)
