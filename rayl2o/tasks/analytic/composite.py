"""A task plus a term of its params alone: a penalty, or the waves of a Rastrigin function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch, TaskBatch


class Term(Protocol):
    """A function of params ``[K, D]``; row k of every result depends on row k of the arguments only."""

    def value(self, params: Tensor) -> Tensor:
        """``[K]``, twice differentiable by autograd."""

    def slope(self, params: Tensor) -> Tensor:
        """Its gradient, ``[K, D]``."""

    def product(self, params: Tensor, vector: Tensor) -> Tensor | None:
        """Its Hessian times ``vector [K, D]``; None if that is 0 everywhere."""


@dataclass(frozen=True, eq=False)
class CompositeBatch:
    """K instances whose loss is that of ``base`` plus ``term``; start and minibatches are those of ``base``.

    Attributes:
        base: Without the term.
        term: Of the params alone.
    """

    base: TaskBatch
    term: Term

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
        """A minibatch per instance as ``base`` draws it; None if it has no data."""
        return self.base.draw_batch(seeds)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        losses, grads = self.base.loss_and_grad(params, batch)
        with torch.no_grad():
            return losses + self.term.value(params), grads + self.term.slope(params)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]`` with ``vector [K, D]``; no graph."""
        product = self.base.hvp(params, batch, vector)
        with torch.no_grad():
            more = self.term.product(params, vector)
            return product if more is None else product + more

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self.base.loss(params, batch) + self.term.value(params)
