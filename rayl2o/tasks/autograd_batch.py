"""K instances whose losses are written once, natively over K, and whose derivatives autograd makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch
from rayl2o.tasks.instances import require_one_each


@dataclass(frozen=True, eq=False)
class AutogradBatch:
    """A :class:`~rayl2o.tasks.base.TaskBatch` from its losses. Rows never mix: the gradient of the sum is each row's own.

    Attributes:
        layout: How the D coordinates are cut.
        k: Number of instances.
        losses: ``(params [K, D], batch) -> [K]``, twice differentiable in params; row k reads row k only.
        start: K seeds to fresh params ``[K, D]`` in the dtype and on the device of the task.
        draw: K seeds to a minibatch; None where there is no data.
    """

    layout: Layout
    k: int
    losses: Callable[[Tensor, Batch], Tensor]
    start: Callable[[Sequence[int]], Tensor]
    draw: Callable[[Sequence[int]], Batch] | None = None

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``, row k from ``seeds[k]``."""
        require_one_each(seeds, self.k)
        return self.start(seeds)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """A minibatch per instance, row k from ``seeds[k]``; None without data."""
        require_one_each(seeds, self.k)
        return None if self.draw is None else self.draw(seeds)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]`` at ``params [K, D]``; no graph is left."""
        with torch.enable_grad():
            point = params.detach().requires_grad_()
            losses = self.losses(point, batch)
            (grad,) = torch.autograd.grad(losses.sum(), point)
        return losses.detach(), grad

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph is left."""
        with torch.enable_grad():
            point = params.detach().requires_grad_()
            (grad,) = torch.autograd.grad(self.losses(point, batch).sum(), point, create_graph=True)
            if not grad.requires_grad:  # losses linear in params
                return torch.zeros_like(params)
            (product,) = torch.autograd.grad(grad, point, vector.detach(), materialize_grads=True)
        return product.detach()

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self.losses(params, batch)
