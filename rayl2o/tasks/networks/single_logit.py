"""Binary classifiers with one output, on top of classifiers with two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch, TaskBatch
from rayl2o.tasks.instances import require_one_each


@dataclass(frozen=True, eq=False)
class SingleLogitBatch:
    """K networks with one logit z and logistic loss, which is the softmax cross entropy of the logits (0, z).

    So the columns of class 0 in the top layer of ``base`` are held at 0, and everything else is ``base``'s own work.

    Attributes:
        layout: As of ``base``, but with one output.
        base: Softmax classifiers of two classes whose last two tensors are weight ``[in, 2]`` and bias ``[2]``.
        start: K seeds to fresh params ``[K, D]`` in the dtype and on the device of the task.
    """

    layout: Layout
    base: TaskBatch
    start: Callable[[Sequence[int]], Tensor]

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.base.k

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        return self.start(seeds)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """A minibatch per instance, row k from ``seeds[k]``."""
        return self.base.draw_batch(seeds)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        with torch.no_grad():
            losses, grads = self.base.loss_and_grad(self._embed(params), batch)
            return losses, self._project(grads)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph."""
        with torch.no_grad():
            return self._project(self.base.hvp(self._embed(params), batch, self._embed(vector)))

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self.base.loss(self._embed(params), batch)

    def _embed(self, values: Tensor) -> Tensor:
        """``[K, D]`` to the coordinates of ``base``, those of class 0 being 0."""
        top = self.layout.offsets[-2]
        logit = values[:, top:]
        return torch.cat((values[:, :top], torch.stack((torch.zeros_like(logit), logit), 2).flatten(1)), 1)

    def _project(self, values: Tensor) -> Tensor:
        """The coordinates of ``base`` without those of class 0, ``[K, D]``."""
        top = self.layout.offsets[-2]
        return torch.cat((values[:, :top], values[:, top + 1 :: 2]), 1)
