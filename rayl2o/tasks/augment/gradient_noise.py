"""Gradient noise: Gaussian noise on every gradient, as the gradient of a random linear term, so that values agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator
from rayl2o.tasks.augment.base import Instances, Wrapped, rows
from rayl2o.tasks.augment.log_uniform import log_uniform, require_factors
from rayl2o.tasks.base import Batch, TaskBatch
from rayl2o.tasks.instances import require_one_each


@dataclass(frozen=True)
class GradientNoise:
    """f(x) + xi'x with xi ~ N(0, std^2) afresh for each minibatch: the gradient is g + xi, unbiased, and the Hessian f's own.

    Noise on the gradient alone would be the gradient of no function: losses and Hessians, of which credit is made, would
    contradict the gradients that the rule sees. The price is noise of std |x| on the loss, unbiased too. Such a loss can be
    negative, so a meta-loss that takes its logarithm is not for it.

    Attributes:
        smallest, largest: The std of a task, in the units of its gradient, is drawn log-uniformly from this range.

    Raises:
        UserError: If the range is empty or not within 1e-12..1e12.
    """

    kind: ClassVar[str] = "gradient-noise"

    smallest: float = 1e-4
    largest: float = 1e-2

    def __post_init__(self) -> None:
        require_factors("gradient noise", self.smallest, self.largest)

    def layout(self, inner: Layout) -> Layout:
        """As the inner one."""
        return inner

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """Minibatches become pairs of a minibatch and a noise, both from the minibatch's seed."""

        def draw(seed: int) -> Tensor:
            return log_uniform(self.smallest, self.largest, 1, generator(self.kind, seed))

        std = rows(instances.seeds, draw).to(instances.device, instances.dtype)
        return NoisyBatch(batch, instances.seeds, std)


@dataclass(frozen=True)
class Noisy:
    """A minibatch with its noise, which is kept as seeds: U of them wait for a reverse sweep at little cost.

    Attributes:
        inner: The minibatch of the inner task.
        seeds: Of the noise, one per instance.
    """

    inner: Batch
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class NoisyBatch(Wrapped):
    """K instances of f(x) + xi'x.

    Attributes:
        seeds: The instances' own: equal instances hear equal noise at equal minibatch seeds, different ones never do.
        std: ``[K, 1]``.
    """

    seeds: tuple[int, ...]
    std: Tensor

    def draw_batch(self, seeds: Sequence[int]) -> Noisy:
        """A minibatch and a noise per instance, row k from ``seeds[k]``; never None."""
        require_one_each(seeds, self.k)
        return Noisy(self.inner.draw_batch(seeds), tuple(seeds))

    def noise(self, batch: Noisy) -> Tensor:
        """xi, ``[K, D]``."""

        def draw(seeds: tuple[int, int]) -> Tensor:  # float32 in any dtype, so that it is the same noise
            return torch.randn(self.layout.size, generator=generator(GradientNoise.kind, *seeds))

        return rows(list(zip(self.seeds, batch.seeds, strict=True)), draw).to(self.std) * self.std

    def loss_and_grad(self, params: Tensor, batch: Noisy) -> tuple[Tensor, Tensor]:
        """f + xi'x ``[K]`` and g + xi ``[K, D]``; no graph."""
        with torch.no_grad():
            loss, grad = self.inner.loss_and_grad(params, batch.inner)
            noise = self.noise(batch)
            return loss + (noise * params).sum(1), grad + noise

    def hvp(self, params: Tensor, batch: Noisy, vector: Tensor) -> Tensor:
        """The inner one ``[K, D]``; no graph."""
        return self.inner.hvp(params, batch.inner, vector)

    def loss(self, params: Tensor, batch: Noisy) -> Tensor:
        """f + xi'x ``[K]``, differentiable twice in ``params``."""
        return self.inner.loss(params, batch.inner) + (self.noise(batch) * params).sum(1)
