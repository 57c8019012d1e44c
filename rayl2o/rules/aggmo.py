"""AggMo: the mean of several heavy balls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.classic import Classic
from rayl2o.rules.moments import Hyper, cast

_MOST = 64


@dataclass(frozen=True)
class AggMo(Classic):
    """AggMo: ``b_i = beta_i b_i + g; delta = -lr mean_i b_i`` with ``beta_i = 1 - scale^i``, i = 0..velocities-1.

    Lucas et al. 2019 (*Aggregated Momentum: Stability Through Passive Damping*, arXiv:1804.00325), section 3, in the
    exponential form of the damping vector; the defaults are the paper's (0, .9, .99). Its velocities are ``-b_i``.
    4 bytes of float32 state per coordinate and velocity.

    Attributes:
        lr: Learning rate.
        scale: a of the paper, in (0, 1].
        velocities: K of the paper, how many heavy balls.

    Raises:
        UserError: If a setting is out of range.
    """

    kind: ClassVar[str] = "aggmo"
    lr: Hyper = 1e-3
    scale: Hyper = 0.1
    velocities: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.velocities, int) and 1 <= self.velocities <= _MOST):
            mend = f"give a whole number in 1..{_MOST}"
            raise UserError(f"{self.kind}: velocities out of range", value=self.velocities, mend=mend)
        if not isinstance(self.scale, Tensor) and not 0.0 < self.scale <= 1.0:
            raise UserError(f"{self.kind}: scale out of range", value=self.scale, mend="give a number in (0, 1]")

    def start(self) -> tuple[float, ...]:
        """b_i = 0."""
        return (0.0,) * self.velocities

    def move(self, grad: Tensor, step: Tensor, buffers: Tensor) -> tuple[Tensor, Sequence[Tensor]]:  # noqa: ARG002
        """Buffers: b_0, b_1, ..."""
        balls = [cast(1.0 - self.scale**i, grad) * buffers[i] + grad for i in range(self.velocities)]
        total = balls[0]
        for ball in balls[1:]:
            total = total + ball
        return -(cast(self.lr, grad) / self.velocities * total), balls
