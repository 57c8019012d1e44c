"""Rows of the rule-law table: the GRU optimizer and RNNprop with the extra feature."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.gru import Gru
from rayl2o.rules.rnnprop_extra import RnnPropExtra


@dataclass(frozen=True)
class Trained(Gru):
    """A GRU optimizer whose readout and initial state are not 0, as they are at the start and would hide all else."""

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights, all of them moved."""
        fresh = super().init_phi(generator, dtype)
        return {name: w + 0.3 * torch.randn(w.shape, generator=generator).to(dtype) for name, w in fresh.items()}


ROWS: dict[str, Rule] = {
    "gru, fresh": Gru(hidden=8),
    "gru": Trained(hidden=8, input_scale=3.0),
    "gru, log1p": Trained(hidden=5, inputs="log1p", output_scale=0.1),
    "rnnprop-extra": RnnPropExtra(),
    "rnnprop-extra, two layers": RnnPropExtra(projection=3, hidden=(4, 3), beta1=0.9, beta2=0.99),
}
