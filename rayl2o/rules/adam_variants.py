"""Relatives of Adam with other moments or another look ahead: AdaBelief, Yogi, NAdam.

As in :mod:`rayl2o.rules.classic`: coordinate-wise, no weights, each hyperparameter a number or ``[K, 1]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.rules.classic import Classic
from rayl2o.rules.moments import Hyper, bias_correction, cast, ema, ema_of_square, safe_sqrt

_WARM_MOMENTUM = 0.96
"""Base of NAdam's momentum schedule."""


@dataclass(frozen=True)
class AdaBelief(Classic):
    """AdaBelief: Adam that divides by the spread of g around its mean m instead of by the size of g.

    ``m = beta1 m + (1 - beta1) g; s = beta2 s + (1 - beta2) (g - m)^2 + eps; delta = -lr m^ / (sqrt(s^) + eps)``, with the hats
    of Adam. Zhuang et al. 2020 (arXiv:2010.07468), Algorithm 2; the default eps of 1e-16 is that of the authors' code, which
    stands under the root: it corresponds to 1e-8 of Adam. 8 bytes of float32 state per coordinate.
    """

    kind: ClassVar[str] = "adabelief"
    lr: Hyper = 1e-3
    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-16

    def start(self) -> tuple[float, ...]:
        """m = s = 0."""
        return (0.0, 0.0)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Buffers: m, s."""
        eps = cast(self.eps, grad)
        m = ema(buffers[0], grad, self.beta1)
        s = ema_of_square(buffers[1], grad - m, self.beta2) + eps
        lr = cast(self.lr, grad) / bias_correction(self.beta1, step, grad)
        spread = safe_sqrt(s) / torch.sqrt(bias_correction(self.beta2, step, grad))
        return -(lr * m / (spread + eps)), (m, s)


@dataclass(frozen=True)
class Yogi(Classic):
    """Yogi: Adam whose second moment moves by at most ``(1 - beta2) g^2`` a step, so that it forgets slowly.

    ``m = beta1 m + (1 - beta1) g; v = v - (1 - beta2) sign(v - g^2) g^2; delta = -lr m / (sqrt(v) + eps)``. Zaheer et al. 2018
    (*Adaptive Methods for Nonconvex Optimization*, NeurIPS), Algorithm 2, without correction for the start at 0. Code in
    common use has Adam's correction: ``bias_correction=True``, as Optax. The defaults of eps and of the start of v are of that
    code too. 8 bytes of float32 state per coordinate.
    """

    kind: ClassVar[str] = "yogi"
    lr: Hyper = 1e-2
    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-3
    initial_accumulator_value: float = 1e-6
    bias_correction: bool = False

    def start(self) -> tuple[float, ...]:
        """m = 0, v = initial_accumulator_value."""
        return (0.0, self.initial_accumulator_value)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Buffers: m, v."""
        m = ema(buffers[0], grad, self.beta1)
        square = grad * grad
        v = buffers[1] - cast(1.0 - self.beta2, grad) * torch.sign(buffers[1] - square) * square
        lr, rms = cast(self.lr, grad), safe_sqrt(v)
        if self.bias_correction:
            lr = lr / bias_correction(self.beta1, step, grad)
            rms = rms / torch.sqrt(bias_correction(self.beta2, step, grad))
        return -(lr * m / (rms + cast(self.eps, grad))), (m, v)


@dataclass(frozen=True)
class NAdam(Classic):
    """NAdam: Adam with Nesterov's look ahead and a momentum that warms up, as ``torch.optim.NAdam``.

    At step t = 1, 2, ...: ``mu[t] = beta1 (1 - 0.96^(t momentum_decay) / 2)`` and ``P = mu[1] ... mu[t]``; with Adam's m and v^,
    ``delta = -lr (mu[t+1] m / (1 - P mu[t+1]) + (1 - mu[t]) g / (1 - P)) / (sqrt(v^) + eps)``. Dozat 2016 (*Incorporating
    Nesterov Momentum into Adam*), whose 0.96^(t / 250) is the default. P is the same at every coordinate, and is kept in each
    because columns of ``sequence`` may come from different windows. 12 bytes of float32 state per coordinate.
    """

    kind: ClassVar[str] = "nadam"
    lr: Hyper = 2e-3
    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8
    momentum_decay: Hyper = 4e-3

    def start(self) -> tuple[float, ...]:
        """m = v = 0, P = 1."""
        return (0.0, 0.0, 1.0)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Buffers: m, v, P."""
        m = ema(buffers[0], grad, self.beta1)
        v = ema_of_square(buffers[1], grad, self.beta2)
        mu, ahead = self._momentum(step.to(grad) + 1.0), self._momentum(step.to(grad) + 2.0)
        product = mu * buffers[2]
        rms = safe_sqrt(v) / torch.sqrt(bias_correction(self.beta2, step, grad))
        look = ahead * m / (1.0 - product * ahead) + (1.0 - mu) * grad / (1.0 - product)
        return -(cast(self.lr, grad) * look / (rms + cast(self.eps, grad))), (m, v, product)

    def _momentum(self, t: Tensor) -> Tensor:
        """mu of the t-th step, t from 1."""
        decay = torch.exp(t * cast(self.momentum_decay, t) * math.log(_WARM_MOMENTUM))
        return cast(self.beta1, t) * (1.0 - 0.5 * decay)


ADAM_VARIANTS: tuple[type[Classic], ...] = (AdaBelief, Yogi, NAdam)
"""The rules of this module."""
