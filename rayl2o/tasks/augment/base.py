"""What an augmentation is: plain settings that turn K built instances into K others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch, TaskBatch

Seed = TypeVar("Seed", bound=Hashable)


@dataclass(frozen=True)
class Instances:
    """What an augmentation is told about K instances, beside their batch.

    Attributes:
        seeds: One per instance, this augmentation's own: all that is random about it comes from there. Equal seeds belong to
            equal instances.
        alone: k to instance k in a batch of its own (K = 1), as it is before this augmentation. Built at the call.
        device, dtype: Of params.
    """

    seeds: tuple[int, ...]
    alone: Callable[[int], TaskBatch]
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32


class Augmentation(Protocol):
    """A frozen dataclass of plain settings (int, float, str); it must keep every law of :class:`~rayl2o.tasks.base.TaskBatch`."""

    kind: ClassVar[str]
    """Name in a spec and in YAML."""

    def layout(self, inner: Layout) -> Layout:
        """The layout of the wrapped task, from that of the inner one; reads no data."""

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """The K instances of ``batch``, each changed as its own seed says. Losses, gradients and Hessians change together."""


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A batch that passes everything on to ``inner``. An augmentation overrides what it changes.

    Attributes:
        inner: The batch that is wrapped.
    """

    inner: TaskBatch

    @property
    def layout(self) -> Layout:
        """As the inner one."""
        return self.inner.layout

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.inner.k

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``."""
        return self.inner.init_params(seeds)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """A minibatch per instance."""
        return self.inner.draw_batch(seeds)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        return self.inner.loss_and_grad(params, batch)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]``; no graph."""
        return self.inner.hvp(params, batch, vector)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params``."""
        return self.inner.loss(params, batch)


def rows(seeds: Sequence[Seed], draw: Callable[[Seed], Tensor]) -> Tensor:
    """``draw(seed)`` of each instance, stacked ``[K, ...]``; drawn once for equal seeds."""
    drawn = {seed: draw(seed) for seed in dict.fromkeys(seeds)}
    return torch.stack([drawn[seed] for seed in seeds])


def start(params: Tensor) -> Tensor:
    """Initial params in float64, but with float32 values: what is computed of them and then cast is the same in every dtype."""
    return params.float().double()
