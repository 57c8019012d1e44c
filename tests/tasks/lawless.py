"""A small sound family that breaks one law when it is told to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import Batch, TaskSpec
from rayl2o.tasks.instances import normal_rows, require_one_each, require_same
from rayl2o.tasks.settings import to_settings

_BUILDS = itertools.count()
LEAKED: list[Tensor] = []


@dataclass(frozen=True)
class Lawless:
    """Bowls sum h (sqrt(1 + d^2) - 1) with d = x - optimum - minibatch; sound with ``fault=""``.

    Attributes:
        size: Coordinates.
        fault: What is wrong.
    """

    family: ClassVar[str] = "lawless"

    size: int = 6
    fault: str = ""

    @property
    def layout(self) -> Layout:
        """Two tensors."""
        half = self.size // 2
        return Layout(("a", "b"), ((half,), (self.size - half,)), ("weight", "bias"), (0, 1))

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws h and the optimum."""
        source = None if self.fault == "sample from the global generator" else generator
        seed = int(torch.randint(2**31, (), generator=source))
        settings = to_settings(self)
        if self.fault == "a tuple among settings":
            settings["size"] = (self.size,)
        if self.fault == "a setting left out":
            del settings["size"]
        if self.fault == "a setting that its family refuses":
            settings["size"] = "six"
        if self.fault == "settings that change":
            settings["size"] = self.size + 1
        return TaskSpec(self.family, settings, seed)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> LawlessBatch:
        """Bowls side by side."""
        if self.fault == "data missing":
            raise UserError("bowls.csv is missing", value="/data", mend="fetch it")
        require_same(self, specs)
        drawn_in = dtype if self.fault == "drawn in the dtype" else torch.float64
        rows = [torch.rand(2, self.size, generator=seeded("lawless", s.seed), dtype=drawn_in) for s in specs]
        drawn = torch.stack(rows)
        if self.fault == "depends on what was built before":
            drawn += next(_BUILDS)
        dtype = torch.float32 if self.fault == "deaf to dtype" else dtype
        return LawlessBatch(self, drawn[:, 0].to(device, dtype) + 0.1, drawn[:, 1].to(device, dtype))


@dataclass(eq=False)
class LawlessBatch:
    """K bowls.

    Attributes:
        family: Their settings.
        height, optimum: ``[K, D]``.
        calls: What it should not count.
        buffer: What it should not keep.
    """

    family: Lawless
    height: Tensor
    optimum: Tensor
    calls: int = 0
    buffer: Tensor = field(default_factory=lambda: torch.zeros(()))

    @property
    def layout(self) -> Layout:
        """That of the family, or nearly."""
        return Layout.flat(self.family.size) if self._has("another layout") else self.family.layout

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.height.shape[0]

    def _has(self, fault: str) -> bool:
        return self.family.fault == fault

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """N(0, 1)."""
        require_one_each(seeds, self.k)
        start = normal_rows(seeds, self.family.size, 1.0).to(self.height)
        if self._has("starts at the optimum"):
            return self.optimum.clone()
        if self._has("starts at infinity"):
            return start / 0
        if self._has("seeds the global generator"):
            torch.manual_seed(seeds[0])
        if self._has("draws from numpy"):
            return start + float(np.random.rand())  # noqa: NPY002
        if self._has("all starts from the first seed"):
            return normal_rows(seeds[:1], start.numel(), 1.0).reshape(start.shape).to(start)
        if self._has("starts of float32 are others") and start.dtype == torch.float32:
            return start + 1
        return start

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """A shift ``[K, D]``."""
        require_one_each(seeds, self.k)
        if self._has("minibatches by position"):
            seeds = [seed + row for row, seed in enumerate(seeds)]
        rows = [torch.randn(self.family.size, generator=seeded("shift", seed), dtype=torch.float64) for seed in seeds]
        return 0.1 * torch.stack(rows).to(self.height)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses and gradients, and the fault."""
        if self._has("raises"):
            raise ArithmeticError("no losses today")
        if self._has("refuses NaN") and not bool(torch.isfinite(params).all()):
            raise ArithmeticError("params are not finite")
        if self._has("writes to params"):
            params.data.clamp_(-0.5, 0.5)
        if self._has("touches params"):
            params.add_(0)
        d = self._distance(params, batch)
        grad = self.height * d / (1 + d.square()).sqrt()
        loss = self._losses(d)
        if not self._has("leaves a graph"):
            loss, grad = loss.detach(), grad.detach()
        return self._faulty(params, loss, grad)

    def _faulty(self, params: Tensor, loss: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        if self._has("counts its calls"):
            loss = loss + self.calls
        if self._has("returns its buffer"):
            self.buffer = self.buffer if self.buffer.shape == grad.shape else torch.empty_like(grad)
            grad = self.buffer.copy_(grad)
        if self._has("losses in a column"):
            loss = loss.unsqueeze(1)
        if self._has("gradient of a mean"):
            grad = grad / self.k
        if self._has("gradient a little long"):
            grad = grad * 1.001
        if self._has("one coordinate wrong"):
            grad = torch.cat([grad[:, :-1], -grad[:, -1:]], 1)
        if self._has("another constant"):
            loss = loss + 1
        if self._has("keeps results"):
            LEAKED.append(loss)
        if self._has("keeps a graph"):
            self.buffer = self.buffer + self.loss(params.clone().requires_grad_(), 0).sum()
        if self._has("fills .grad") and params.requires_grad:
            params.grad = grad.clone()
        if self._has("returns params"):
            grad = params.detach()
        return loss, grad

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products."""
        d = self._distance(params.detach(), batch)
        product = self.height * vector / (1 + d.square()) ** 1.5
        return -product if self._has("hvp of the wrong sign") else product.detach()

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``."""
        if self._has("loss cut off"):
            params = params.detach()
        if self._has("a term cut off"):
            half = self.family.size // 2
            params = torch.cat([params[:, :half], params[:, half:].detach()], 1)
        return self._losses(self._distance(params, batch))

    def _losses(self, d: Tensor) -> Tensor:
        return (self.height * ((1 + d.square()).sqrt() - 1)).sum(1)

    def _distance(self, params: Tensor, batch: Batch) -> Tensor:
        d: Tensor = params - self.optimum - batch
        if self._has("normalised over instances"):
            d = d - 0.1 * d.mean(0)
        if self._has("multiplied by zero"):
            d = d + 0 * d.sum()
        return d
