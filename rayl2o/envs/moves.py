"""What an action does: from numbers in [-1, 1] to a displacement of every coordinate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.envs.settings import EnvSettings
from rayl2o.layout import Layout


@dataclass(frozen=True)
class Moves:
    """A kind of action on a layout.

    Attributes:
        size: A, numbers per action.
        displace: ``(action [K, A] in [-1, 1], grad [K, D], coords [K, C]) -> delta [K, D]``.
    """

    size: int
    displace: Callable[[Tensor, Tensor, Tensor], Tensor]

    @classmethod
    def of(cls, settings: EnvSettings, layout: Layout) -> Moves:
        """The moves that ``settings.action`` names.

        ``update`` is the step vector itself, as in Li and Malik (2017): ``delta = update_scale * action``. ``log_step`` and
        ``log_step_tensor`` choose how far to go along the negative gradient, as the step size controllers of Daniel, Taylor and
        Nowozin (2016) do: ``delta = -10^(low + (high - low) (action + 1) / 2) * grad``.
        """
        low, high = settings.log10_steps

        def steps(action: Tensor) -> Tensor:
            return torch.pow(10.0, low + (high - low) * (action + 1.0) / 2.0)

        if settings.action == "log_step":
            return cls(1, lambda action, grad, _: -steps(action) * grad)
        if settings.action == "log_step_tensor":
            owner = layout.tensor_index()
            return cls(layout.tensors, lambda action, grad, _: -steps(action)[:, owner] * grad)

        def update(action: Tensor, grad: Tensor, coords: Tensor) -> Tensor:
            return (-settings.others_step * grad).scatter(1, coords, settings.update_scale * action)

        return cls(settings.coordinates(layout.size), update)
