"""Rows of the rule-law table: L2O-Scale, which is not coordinate-wise."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.scale import Scale


@dataclass(frozen=True)
class Trained(Scale):
    """L2O-Scale with all weights moved: its learning rates stand still at the start and would hide their derivatives."""

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights, all of them moved."""
        fresh = super().init_phi(generator, dtype)
        return {name: w + 0.3 * torch.randn(w.shape, generator=generator).to(dtype) for name, w in fresh.items()}


ROWS: dict[str, Rule] = {
    "scale, fresh": Scale(),
    "scale": Trained(),
    "scale, uneven": Trained(hidden=(3, 5, 4), scales=2, min_lr=1e-2, max_lr=1e-2),
}
COMPILED = ["scale, uneven"]
"""Rows to compile: one of the kind."""
