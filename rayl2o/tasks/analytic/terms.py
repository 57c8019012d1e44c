"""Terms that are added to a loss, with slope and curvature in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Absolute:
    """``strength |x|_1``. At a coordinate of exactly 0 the slope is 0, one of its subgradients (autograd's choice too).

    Attributes:
        strength: Before the norm.
    """

    strength: float

    def value(self, params: Tensor) -> Tensor:
        """``[K]``."""
        return self.strength * params.abs().sum(1)

    def slope(self, params: Tensor) -> Tensor:
        """``[K, D]``."""
        return params.sign().mul_(self.strength)

    def product(self, params: Tensor, vector: Tensor) -> None:
        """None: the curvature is 0 wherever there is one."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """``1/2 sum_i strength_i x_i^2``.

    Attributes:
        strength: ``[D]``, 0 for coordinates that are left alone.
    """

    strength: Tensor

    def value(self, params: Tensor) -> Tensor:
        """``[K]``."""
        return (self.strength * params.square()).sum(1) / 2

    def slope(self, params: Tensor) -> Tensor:
        """``[K, D]``."""
        return self.strength * params

    def product(self, params: Tensor, vector: Tensor) -> Tensor:  # noqa: ARG002
        """``[K, D]``."""
        return self.strength * vector


@dataclass(frozen=True)
class Norm:
    """``strength |x|``, the Euclidean norm of all params, not squared. Its slope at x = 0 is 0; it has no curvature there.

    Attributes:
        strength: Before the norm.
    """

    strength: float

    def value(self, params: Tensor) -> Tensor:
        """``[K]``."""
        length: Tensor = torch.linalg.vector_norm(params, dim=1)
        return self.strength * length

    def slope(self, params: Tensor) -> Tensor:
        """``[K, D]``."""
        return self._unit(params)[0].mul_(self.strength)

    def product(self, params: Tensor, vector: Tensor) -> Tensor:
        """``strength (v - u u'v) / |x|`` with u = x / |x|, ``[K, D]``."""
        unit, length = self._unit(params)
        along = (unit * vector).sum(1, keepdim=True)
        return (vector - unit * along).mul_(self.strength) / length

    def _unit(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """u ``[K, D]`` and ``|x| [K, 1]``."""
        length = torch.linalg.vector_norm(params, dim=1, keepdim=True).clamp_min(torch.finfo(params.dtype).tiny)
        return params / length, length


@dataclass(frozen=True, eq=False)
class Waves:
    """``sum_i height_i cos(frequency x_i) + constant``.

    Attributes:
        height: ``[K, D]``.
        frequency: Radians per unit of x.
        constant: Added once to each loss.
    """

    height: Tensor
    frequency: float
    constant: float = 0.0

    def value(self, params: Tensor) -> Tensor:
        """``[K]``."""
        return (self.height * torch.cos(self.frequency * params)).sum(1) + self.constant

    def slope(self, params: Tensor) -> Tensor:
        """``[K, D]``."""
        return self.height * torch.sin(self.frequency * params).mul_(-self.frequency)

    def product(self, params: Tensor, vector: Tensor) -> Tensor:
        """``[K, D]``."""
        return self.height * torch.cos(self.frequency * params).mul_(-(self.frequency**2)) * vector
