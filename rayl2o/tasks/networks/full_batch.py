"""Every step on all examples: a task of minibatches with one of them held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch, TaskBatch
from rayl2o.tasks.instances import require_one_each
from rayl2o.tasks.minibatch import Minibatch, Part

# Activations of the instances computed together: larger than a core's cache, and side by side is slower than one by one.
_CHUNK_BYTES = 2 * 2**20


@dataclass(frozen=True, eq=False)
class FullBatch:
    """K instances whose loss is that of ``base`` on one minibatch, always the same.

    Attributes:
        base: Whose minibatches are never drawn.
        batch: For instance :func:`all_examples`.
    """

    base: TaskBatch
    batch: Batch

    @property
    def layout(self) -> Layout:
        """As of ``base``."""
        return self.base.layout

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.base.k

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``, row k from ``seeds[k]``."""
        return self.base.init_params(seeds)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None: nothing is drawn."""
        require_one_each(seeds, self.k)
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        return self.base.loss_and_grad(params, self.batch)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:  # noqa: ARG002
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph."""
        return self.base.hvp(params, self.batch, vector)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self.base.loss(params, self.batch)


def all_examples(k: int, examples: int, example_bytes: int, device: torch.device | str = "cpu") -> Minibatch:
    """All examples for each of K instances, shared by them, in parts whose activations fit a core's cache.

    Args:
        k: Number of instances.
        examples: N.
        example_bytes: Of the activations that one example has in one instance.
        device: Of the row numbers.
    """
    rows = torch.arange(examples, device=device).unsqueeze(0)
    chunk = max(1, _CHUNK_BYTES // (examples * example_bytes))
    return Minibatch(k, tuple(Part(slice(at, min(at + chunk, k)), rows) for at in range(0, k, chunk)))
