"""Rows of the rule-law table: the small MLP."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.small_mlp import SmallMlp


@dataclass(frozen=True)
class Trained(SmallMlp):
    """A small MLP whose biases and decays are not 0, as they are at the start and would hide much."""

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights, all of them moved; the decays little, as they are exponents."""
        fresh = super().init_phi(generator, dtype)
        sizes = {name: 0.03 if name == "mlp.decays" else 0.3 for name in fresh}
        return {
            name: w + sizes[name] * torch.randn(w.shape, generator=generator).to(dtype) for name, w in fresh.items()
        }


ROWS: dict[str, Rule] = {
    "mlp, fresh": SmallMlp(),
    "mlp": Trained(exp_mult=0.1, step_mult=0.1),
    "mlp, fixed decays": Trained(hidden=(5, 3, 4), exp_mult=0.3, step_mult=0.1, learn_decays=False),
}
COMPILED = ["mlp"]
