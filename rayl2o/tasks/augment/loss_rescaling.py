"""Loss rescaling: the loss in another unit. Nothing moves but the size of every gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator
from rayl2o.tasks.augment.base import Instances, Wrapped, rows
from rayl2o.tasks.augment.log_uniform import log_uniform, require_factors
from rayl2o.tasks.base import Batch, TaskBatch


@dataclass(frozen=True)
class LossRescaling:
    """c f(x), with c drawn log-uniformly once per task. A rule that normalises its gradients does not notice; others must cope.

    Meta-losses add up the losses of different tasks: one with c = 100 weighs 100 times as much, unless the meta-loss is a
    logarithm or a ratio. Divergence is judged by the rescaled loss.

    Attributes:
        smallest, largest: Range of c.

    Raises:
        UserError: If the range is empty or not within 1e-12..1e12.
    """

    kind: ClassVar[str] = "loss-rescaling"

    smallest: float = 0.1
    largest: float = 10.0

    def __post_init__(self) -> None:
        require_factors("loss rescaling", self.smallest, self.largest)

    def layout(self, inner: Layout) -> Layout:
        """As the inner one."""
        return inner

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """Losses, gradients and Hessians, all times c."""

        def draw(seed: int) -> Tensor:
            return log_uniform(self.smallest, self.largest, 1, generator(self.kind, seed))

        return RescaledBatch(batch, rows(instances.seeds, draw).to(instances.device, instances.dtype))


@dataclass(frozen=True, eq=False)
class RescaledBatch(Wrapped):
    """K instances of c f(x).

    Attributes:
        factor: c, ``[K, 1]``.
    """

    factor: Tensor

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """c f ``[K]`` and c g ``[K, D]``; no graph."""
        loss, grad = self.inner.loss_and_grad(params, batch)
        return self.factor[:, 0] * loss, self.factor * grad

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """c H v ``[K, D]``; no graph."""
        return self.factor * self.inner.hvp(params, batch, vector)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """c f ``[K]``, differentiable twice in ``params``."""
        return self.factor[:, 0] * self.inner.loss(params, batch)
