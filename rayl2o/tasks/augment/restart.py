"""Restarts: trajectories that begin at partially trained params instead of fresh ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.augment.base import Instances, Wrapped, rows
from rayl2o.tasks.base import TaskBatch
from rayl2o.tasks.instances import require_one_each

MOMENTA: Mapping[str, float] = MappingProxyType({"sgd": 0.0, "momentum": 0.9})
OPTIMIZERS = (*MOMENTA, "adam")
"""What trains the params before the trajectory."""


@dataclass(frozen=True)
class Restart:
    """The start is where an optimizer has come to from the inner task's start in M steps, M ~ U{0..steps}. The loss is unchanged.

    A learned rule meets late training within a short horizon. M and the minibatches come from the seed of the initialisation.
    Each instance is trained by itself, so that its start has the same bits whatever runs beside it: K starts cost K times up to
    ``steps`` steps with K = 1. Params stay at the last point with a finite loss and gradient. A float32 start is the float64 one
    up to the rounding of M steps.

    Attributes:
        steps: Most steps.
        optimizer: ``sgd``, ``momentum`` (0.9) or ``adam`` (0.9, 0.999), as in ``torch.optim``.
        lr: Its step size.

    Raises:
        UserError: If the optimizer is unknown or a number is out of range.
    """

    kind: ClassVar[str] = "restart"

    steps: int = 100
    optimizer: str = "adam"
    lr: float = 0.01

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer of a restart", self.optimizer, OPTIMIZERS)
        if self.steps < 0:
            raise UserError("steps of a restart out of range", value=self.steps, mend="use 0 or more")
        if not 0 < self.lr < math.inf:
            raise UserError("lr of a restart out of range", value=self.lr, mend="use a finite number above 0")

    def layout(self, inner: Layout) -> Layout:
        """As the inner one."""
        return inner

    def wrap(self, batch: TaskBatch, instances: Instances) -> TaskBatch:
        """Only the start changes."""
        return RestartBatch(batch, self, instances)

    def trained(self, task: TaskBatch, seed: int) -> Tensor:
        """Params ``[D]`` of one instance, a batch with K = 1, after its M steps; no graph."""
        with torch.no_grad():
            params = task.init_params([seed]).clone()
            steps = int(torch.randint(self.steps + 1, (), generator=generator(self.kind, "steps", seed)))
            move, kept = self._optimizer(params), params.clone()
            for step in range(steps + 1):  # the last evaluation only asks whether the last point is sound
                loss, grad = task.loss_and_grad(params, task.draw_batch([derive_seed(self.kind, "batch", seed, step)]))
                if not bool(torch.isfinite(loss).all() and torch.isfinite(grad).all()):
                    break
                kept.copy_(params)
                if step < steps:
                    move(grad)
            return kept[0]

    def _optimizer(self, params: Tensor) -> Callable[[Tensor], None]:
        """A step of ``torch.optim``, in place on ``params``, from a gradient.

        By the functions behind its classes: these load PyTorch's compiler, which takes every worker seconds and 75 MB.
        """
        means, squares, made = [torch.zeros_like(params)], [torch.zeros_like(params)], [torch.tensor(0.0)]
        buffers: list[Tensor | None] = [None]

        def adam_step(grad: Tensor) -> None:
            adam(
                [params], [grad], means, squares, [], made, lr=self.lr, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False,
                weight_decay=0.0, maximize=False,
            )  # fmt: skip

        def sgd_step(grad: Tensor) -> None:
            sgd(
                [params], [grad], buffers, lr=self.lr, momentum=MOMENTA[self.optimizer], dampening=0.0, nesterov=False,
                weight_decay=0.0, maximize=False,
            )  # fmt: skip

        return adam_step if self.optimizer == "adam" else sgd_step


@dataclass(frozen=True, eq=False)
class RestartBatch(Wrapped):
    """K instances with trained starts.

    Attributes:
        restart: Its settings.
        instances: Gives each instance by itself.
    """

    restart: Restart
    instances: Instances

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Partially trained params ``[K, D]``, row k from instance k and ``seeds[k]``."""
        require_one_each(seeds, self.k)
        pairs = list(zip(self.instances.seeds, seeds, strict=True))
        return rows(pairs, lambda pair: self.restart.trained(self.instances.alone(pairs.index(pair)), pair[1]))
