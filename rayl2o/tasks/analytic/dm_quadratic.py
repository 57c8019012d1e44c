"""The quadratics on which L2O-DM was first trained, as the TF1 code of papers T and S has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.analytic.least_squares import LeastSquaresBatch
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.specs import seeded_spec


@dataclass(frozen=True)
class DMQuadratic:
    """Random quadratics |Wx - y|^2 with W ``[n, n]`` and y uniform on [0, 1), as the code has them; the least loss is 0.

    All entries of W are positive, so one eigenvalue of W'W, near n^2 / 4, is far above the others, and the Hessian is twice that.
    (Andrychowicz et al. write that W and y are normal.) The published code optimizes the mean of 128 such problems as one of
    128 n coordinates; here a spec is one problem, so its gradients are 128 times larger. 128 specs side by side are that batch.

    Attributes:
        size: n, the number of coordinates.
        init_std: x0 ~ N(0, init_std^2).

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "dm-quadratic"

    size: int = 10
    init_std: float = 0.01

    def __post_init__(self) -> None:
        require_within("dm-quadratic.size", self.size, 1)
        require_within("dm-quadratic.init_std", self.init_std, 0)

    @property
    def layout(self) -> Layout:
        """One vector of ``size`` coordinates."""
        return Layout.flat(self.size)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws W and y."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> LeastSquaresBatch:
        """K quadratics side by side, each drawn in float64 from its spec's seed.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        drawn = torch.stack([_draw(self.size, spec.seed) for spec in specs]).to(device, dtype)
        return LeastSquaresBatch(self.layout, drawn[:, :-1], drawn[:, -1], scale=1.0, init_std=self.init_std)


def _draw(n: int, seed: int) -> Tensor:
    """W above y, ``[n + 1, n]``, float64."""
    return torch.rand(n + 1, n, generator=seeded(DMQuadratic.family, seed), dtype=torch.float64)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {"dm-quadratic": NamedTask("dm-quadratic", {}, "Quadratics of L2O-DM as T's code has them, 10 params", paper="T")}
)
