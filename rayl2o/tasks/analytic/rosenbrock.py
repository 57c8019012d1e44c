"""Rosenbrock's curved valley (paper R's second task), also in many dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import Batch, TaskSpec
from rayl2o.tasks.instances import require_one_each, require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_within
from rayl2o.tasks.specs import only_spec

_LOW, _SPAN = (-2.0, -1.0), (4.0, 4.0)  # of the start, for x and y


@dataclass(frozen=True)
class Rosenbrock:
    """Rosenbrock's function (1 - x)^2 + 100 (y - x^2)^2, which is 0 at (1, 1). Only the start is random (R, section 3.2).

    In more dimensions it is the sum over pairs (x_i, y_i) of the same function: each pair is a valley of its own, so the Hessian
    is block diagonal and its condition number at the optimum, about 2,500, does not depend on the dimension.

    Attributes:
        pairs: Of coordinates; the params are x_1, y_1, x_2, y_2, ...

    Raises:
        UserError: If ``pairs`` is not positive.
    """

    family: ClassVar[str] = "rosenbrock"

    pairs: int = 1

    def __post_init__(self) -> None:
        require_within("rosenbrock.pairs", self.pairs, 1)

    @property
    def layout(self) -> Layout:
        """One vector of ``2 pairs`` coordinates."""
        return Layout.flat(2 * self.pairs)

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> RosenbrockBatch:
        """K of them side by side.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        return RosenbrockBatch(self.layout, torch.ones(len(specs), 2 * self.pairs, device=device, dtype=dtype))


@dataclass(frozen=True, eq=False)
class RosenbrockBatch:
    """K Rosenbrock functions; gradient and curvature in closed form.

    Attributes:
        layout: One vector.
        optimum: ``[K, D]``, all ones, where the loss is 0.
    """

    layout: Layout
    optimum: Tensor

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.optimum.shape[0]

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """x ~ U(-2, 2) and y ~ U(-1, 3), ``[K, D]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        shape = (self.layout.size // 2, 2)
        unit = torch.stack([torch.rand(shape, generator=seeded("init", s), dtype=torch.float64) for s in seeds])
        low, span = (torch.tensor(numbers, dtype=torch.float64) for numbers in (_LOW, _SPAN))
        return (low + span * unit).flatten(1).to(self.optimum)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None: there is no data."""
        require_one_each(seeds, self.k)
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        with torch.no_grad():
            x, off, above = _parts(params)
            grad = torch.stack((-2 * off - 400 * x * above, 200 * above), 2).flatten(1)
            return _sum(off, above), grad

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:  # noqa: ARG002
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph."""
        with torch.no_grad():
            x, _, above = _parts(params)
            v, w = vector[:, 0::2], vector[:, 1::2]
            cross = -400 * x
            along_x = (2 + 800 * x.square() - 400 * above) * v + cross * w
            return torch.stack((along_x, cross * v + 200 * w), 2).flatten(1)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return _sum(*_parts(params)[1:])


def _parts(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, 1 - x and y - x^2, ``[K, pairs]`` each."""
    x = params[:, 0::2]
    return x, 1 - x, params[:, 1::2] - x.square()


def _sum(off: Tensor, above: Tensor) -> Tensor:
    """Losses ``[K]``."""
    return (off.square() + 100 * above.square()).sum(1)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {"rosenbrock": NamedTask("rosenbrock", {}, "Rosenbrock's function of R, two params", paper="R")}
)
