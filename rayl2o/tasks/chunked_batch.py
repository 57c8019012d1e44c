"""K instances by autograd, so many at a time: what a backward pass reads again stays small, in a cache and in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.tasks.autograd_batch import AutogradBatch


@dataclass(frozen=True, eq=False)
class ChunkedBatch(AutogradBatch):
    """An :class:`AutogradBatch` whose derivatives are taken of a few instances at a time.

    Its minibatches are tensors ``[K, ...]``, which are cut with the instances. :meth:`loss` is not cut: its caller keeps the
    graph of all K anyway.

    Attributes:
        chunk: Instances at a time, 1 or more.
    """

    chunk: int = 1

    def loss_and_grad(self, params: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]`` at ``params [K, D]``; no graph is left."""
        one = super().loss_and_grad
        pairs = [
            one(*chunk) for chunk in zip(torch.split(params, self.chunk), torch.split(batch, self.chunk), strict=True)
        ]
        if len(pairs) == 1:
            return pairs[0]
        losses, grads = zip(*pairs, strict=True)
        return torch.cat(losses), torch.cat(grads)

    def hvp(self, params: Tensor, batch: Tensor, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph is left."""
        one, chunks = super().hvp, (torch.split(tensor, self.chunk) for tensor in (params, batch, vector))
        return torch.cat([one(*chunk) for chunk in zip(*chunks, strict=True)])
