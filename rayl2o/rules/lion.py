"""Lion: steps of one size along the sign of a momentum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.rules.classic import Classic
from rayl2o.rules.moments import Hyper, cast, ema


@dataclass(frozen=True)
class Lion(Classic):
    """Lion: ``delta = -lr sign(beta1 m + (1 - beta1) g)``, then ``m = beta2 m + (1 - beta2) g``.

    Chen et al. 2023 (*Symbolic Discovery of Optimization Algorithms*, arXiv:2302.06675), Algorithm 2 without weight decay, which
    :class:`rayl2o.rules.decoupled.LionW` adds. The derivative of the sign is 0 everywhere: no meta-gradient passes through an
    update, as for the true function. sign(0) = 0. 4 bytes of float32 state per coordinate.
    """

    kind: ClassVar[str] = "lion"
    lr: Hyper = 1e-4
    beta1: Hyper = 0.9
    beta2: Hyper = 0.99

    def start(self) -> tuple[float, ...]:
        """m = 0."""
        return (0.0,)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:  # noqa: ARG002
        """Buffer: m."""
        direction = torch.sign(ema(buffers[0], grad, self.beta1))
        return -(cast(self.lr, grad) * direction), (ema(buffers[0], grad, self.beta2),)
