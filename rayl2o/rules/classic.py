"""The hand-made rules with the semantics of ``torch.optim``: SGD, heavy ball, Nesterov, Adagrad, RMSprop, Adam.

All are coordinate-wise and have no weights (phi is ``{}``). A hyperparameter is a number, or a tensor that broadcasts against
``grad``, such as ``[K, 1]``: a sweep runs K settings side by side. Tensor settings work in ``update`` only, because a column of
``sequence`` belongs to no instance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.moments import Hyper, bias_correction, cast, ema, ema_of_square, safe_sqrt
from rayl2o.rules.packing import filled_state, pack, unpack

_BELOW_ONE = ("beta1", "beta2", "alpha", "momentum")


@dataclass(frozen=True)
class Classic:
    """What the hand-made rules share; a rule adds its settings, :meth:`start` and :meth:`move`.

    ``coord [..., S]`` holds the buffers in the order in which ``move`` names them.

    Raises:
        UserError: If a number among the settings is negative, not finite, or a decay is not below 1.
    """

    kind: ClassVar[str] = "classic"
    needs: ClassVar[frozenset[str]] = frozenset()
    coordinatewise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                continue
            if not math.isfinite(value) or value < 0.0:
                raise UserError(
                    f"{self.kind}: {field.name} out of range", value=value, mend="give a finite number >= 0"
                )
            if field.name in _BELOW_ONE and value >= 1.0:
                raise UserError(f"{self.kind}: {field.name} out of range", value=value, mend="give a number in [0, 1)")

    def start(self) -> tuple[float, ...]:
        """The S buffers before the first step, the same at every coordinate."""
        return ()

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """``delta [...]`` and the S new buffers from ``grad [...]`` and ``buffers [S, ...]``."""
        raise NotImplementedError

    @property
    def state_size(self) -> int:
        """S, the number of buffers."""
        return len(self.start())

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:  # noqa: ARG002
        """``{}``: nothing to learn."""
        return {}

    def init_state(
        self,
        phi: Mapping[str, Tensor],  # noqa: ARG002
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """``coord [k, D, S]``."""
        return filled_state(self.start(), layout, k, dtype, device)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:  # noqa: ARG002
        """One step; the contract is that of :class:`rayl2o.rules.base.Rule`."""
        delta, buffers = self.move(inputs.grad, inputs.step, unpack(state["coord"]))
        return delta, {"coord": pack(buffers) if buffers else state["coord"]}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps by ``update``: there is nothing to fuse."""
        return step_through(self, phi, inputs, state)


@dataclass(frozen=True)
class Sgd(Classic):
    """Gradient descent: ``delta = -lr g``."""

    kind: ClassVar[str] = "sgd"
    lr: Hyper = 1e-3

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:  # noqa: ARG002
        """No buffers."""
        return -(cast(self.lr, grad) * grad), ()


@dataclass(frozen=True)
class Momentum(Classic):
    """Heavy ball: ``b = momentum b + g; delta = -lr b``."""

    kind: ClassVar[str] = "momentum"
    lr: Hyper = 1e-3
    momentum: Hyper = 0.9

    def start(self) -> tuple[float, ...]:
        """b = 0."""
        return (0.0,)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:  # noqa: ARG002
        """Buffer: b."""
        b = cast(self.momentum, grad) * buffers[0] + grad
        return -(cast(self.lr, grad) * b), (b,)


@dataclass(frozen=True)
class Nesterov(Classic):
    """Nesterov's momentum: ``b = momentum b + g; delta = -lr (g + momentum b)``."""

    kind: ClassVar[str] = "nesterov"
    lr: Hyper = 1e-3
    momentum: Hyper = 0.9

    def start(self) -> tuple[float, ...]:
        """b = 0."""
        return (0.0,)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:  # noqa: ARG002
        """Buffer: b."""
        momentum = cast(self.momentum, grad)
        b = momentum * buffers[0] + grad
        return -(cast(self.lr, grad) * (grad + momentum * b)), (b,)


@dataclass(frozen=True)
class Adagrad(Classic):
    """Adagrad: ``a = a + g^2; delta = -lr / (1 + step lr_decay) g / (sqrt(a) + eps)``."""

    kind: ClassVar[str] = "adagrad"
    lr: Hyper = 1e-2
    lr_decay: Hyper = 0.0
    initial_accumulator_value: float = 0.0
    eps: Hyper = 1e-10

    def start(self) -> tuple[float, ...]:
        """a = initial_accumulator_value."""
        return (self.initial_accumulator_value,)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Buffer: a."""
        a = buffers[0] + grad * grad
        lr = cast(self.lr, grad) / (1.0 + step.to(grad) * cast(self.lr_decay, grad))
        return -(lr * grad / (safe_sqrt(a) + cast(self.eps, grad))), (a,)


@dataclass(frozen=True)
class RmsProp(Classic):
    """RMSprop: ``v = alpha v + (1 - alpha) g^2; b = momentum b + g / (sqrt(v) + eps); delta = -lr b``."""

    kind: ClassVar[str] = "rmsprop"
    lr: Hyper = 1e-2
    alpha: Hyper = 0.99
    eps: Hyper = 1e-8
    momentum: Hyper = 0.0

    @property
    def _has_momentum(self) -> bool:
        return isinstance(self.momentum, Tensor) or self.momentum > 0.0

    def start(self) -> tuple[float, ...]:
        """v = 0, and b = 0 if there is momentum."""
        return (0.0, 0.0) if self._has_momentum else (0.0,)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:  # noqa: ARG002
        """Buffers: v, and b if there is momentum."""
        v = ema_of_square(buffers[0], grad, self.alpha)
        b = grad / (safe_sqrt(v) + cast(self.eps, grad))
        if not self._has_momentum:
            return -(cast(self.lr, grad) * b), (v,)
        b = cast(self.momentum, grad) * buffers[1] + b
        return -(cast(self.lr, grad) * b), (v, b)


@dataclass(frozen=True)
class Adam(Classic):
    """Adam: ``delta = -lr m^ / (sqrt(v^) + eps)`` of the moving averages m of g and v of g^2, corrected for their start at 0."""

    kind: ClassVar[str] = "adam"
    lr: Hyper = 1e-3
    beta1: Hyper = 0.9
    beta2: Hyper = 0.999
    eps: Hyper = 1e-8

    def start(self) -> tuple[float, ...]:
        """m = v = 0."""
        return (0.0, 0.0)

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Buffers: m, v."""
        m = ema(buffers[0], grad, self.beta1)
        v = ema_of_square(buffers[1], grad, self.beta2)
        lr = cast(self.lr, grad) / bias_correction(self.beta1, step, grad)
        rms = safe_sqrt(v) / torch.sqrt(bias_correction(self.beta2, step, grad))
        return -(lr * m / (rms + cast(self.eps, grad))), (m, v)


CLASSIC: tuple[type[Classic], ...] = (Sgd, Momentum, Nesterov, Adagrad, RmsProp, Adam)
"""Every hand-made rule."""
