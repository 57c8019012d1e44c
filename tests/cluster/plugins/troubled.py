"""A task family of another distribution that makes trouble when it is told to; its numbers do not depend on that."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import Batch, TaskSpec
from rayl2o.tasks.instances import normal_rows, require_same
from rayl2o.tasks.settings import to_settings


@dataclass(frozen=True)
class Troubled:
    """Bowls 1/2 sum h (x - o)^2.

    Attributes:
        size: Coordinates.
        nap_ms: Milliseconds that an evaluation sleeps, as long as ``marks`` has no file ``awake``.
        trouble: Any of ``raise once``, ``raise always``, ``hog once``, ``huge`` (gradients), comma between.
        every: Which tasks have it: those whose seed is divisible.
        marks: Folder where it is noted what has happened once.
    """

    family: ClassVar[str] = "troubled"

    size: int = 4
    nap_ms: int = 0
    trouble: str = ""
    every: int = 1
    marks: str = ""

    @property
    def layout(self) -> Layout:
        """One vector."""
        return Layout.flat(self.size)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws h and o."""
        return TaskSpec(self.family, to_settings(self), int(torch.randint(2**31, (), generator=generator)))

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TroubledBatch:
        """Bowls side by side."""
        require_same(self, specs)
        rows = [torch.rand(2, self.size, generator=seeded("troubled", spec.seed)) for spec in specs]
        drawn = torch.stack(rows).to(device, dtype)
        return TroubledBatch(self, drawn[:, 0], drawn[:, 1], tuple(s.seed for s in specs if s.seed % self.every == 0))


@dataclass(frozen=True, eq=False)
class TroubledBatch:
    """K bowls.

    Attributes:
        family: Their settings.
        height, optimum: ``[K, D]``.
        troubled: Seeds of those that make trouble.
    """

    family: Troubled
    height: Tensor
    optimum: Tensor
    troubled: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        """One vector."""
        return self.family.layout

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.height.shape[0]

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """N(0, 1)."""
        return normal_rows(seeds, self.layout.size, 1.0).to(self.height)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None."""
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses and gradients, and the trouble."""
        if self.family.nap_ms and not (Path(self.family.marks) / "awake").exists():
            time.sleep(self.family.nap_ms / 1000)
        params = params.detach()
        grad = self.height * (params - self.optimum)
        for seed in self.troubled:
            grad = self._trouble(seed, grad)
        return self.loss(params, batch), grad

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products."""
        return self.height * vector

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``."""
        return (self.height * (params - self.optimum).square()).sum(1) / 2

    def _trouble(self, seed: int, grad: Tensor) -> Tensor:
        for trouble in self.family.trouble.split(","):
            if trouble == "raise always":
                raise ArithmeticError(f"task {seed} always fails")
            if trouble == "raise once" and self._first(seed):
                raise ArithmeticError(f"task {seed} fails once")
            if trouble == "hog once" and self._first(0):
                _hog()
            if trouble == "huge":
                grad = grad * 1e25
        return grad

    def _first(self, seed: int) -> bool:
        try:
            (Path(self.family.marks) / str(seed)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def _hog() -> None:
    """Takes memory, 50 MB at a time, until it is stopped; at most 3 GB."""
    held = []
    for _ in range(60):
        held.append(bytearray(b"x") * (50 * 2**20))
        time.sleep(0.1)
    time.sleep(60)
