"""Rules with decoupled weight decay, which read the params: AdamW, LionW.

``delta = -lr (direction + weight_decay params)``, as Loshchilov & Hutter 2019 (arXiv:1711.05101), Algorithm 2: the decay does not
enter the moments. Its strength is ``lr weight_decay`` as in ``torch.optim``, so that a schedule of lr is one of the decay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rayl2o.rules.base import Inputs, State
from rayl2o.rules.classic import Adam, Classic
from rayl2o.rules.lion import Lion
from rayl2o.rules.moments import Hyper, cast


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``.

    8 bytes of float32 state per coordinate.
    """

    kind: ClassVar[str] = "adamw"
    needs: ClassVar[frozenset[str]] = frozenset({"params"})
    weight_decay: Hyper = 1e-2

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step; the contract is that of :class:`rayl2o.rules.base.Rule`."""
        delta, state = super().update(phi, inputs, state)
        return delta - _decay(self.lr, self.weight_decay, inputs), state


@dataclass(frozen=True)
class LionW(Lion):
    """Lion with decoupled weight decay.

    Chen et al. 2023 (arXiv:2302.06675), Algorithm 2 whole. 4 bytes of float32 state per coordinate.
    """

    kind: ClassVar[str] = "lionw"
    needs: ClassVar[frozenset[str]] = frozenset({"params"})
    weight_decay: Hyper = 1e-2

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step; the contract is that of :class:`rayl2o.rules.base.Rule`."""
        delta, state = super().update(phi, inputs, state)
        return delta - _decay(self.lr, self.weight_decay, inputs), state


def _decay(lr: Hyper, weight_decay: Hyper, inputs: Inputs) -> Tensor:
    """``lr weight_decay params``."""
    if inputs.params is None:
        raise ValueError("a rule with weight decay needs Inputs.params")
    return cast(lr * weight_decay, inputs.params) * inputs.params


DECOUPLED: tuple[type[Classic], ...] = (AdamW, LionW)
"""The rules of this module."""
