"""Factors drawn log-uniformly from a range: the range's check and the draw."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rayl2o.errors import UserError

LEAST, MOST = 1e-12, 1e12


def require_factors(what: str, smallest: float, largest: float) -> None:
    """Checks that smallest..largest is a range of positive factors that float32 can multiply with.

    Raises:
        UserError: If not.
    """
    if not LEAST <= smallest <= largest <= MOST:
        mend = f"use smallest <= largest, both within {LEAST:g}..{MOST:g}"
        raise UserError(f"range of the {what} is bad", value=(smallest, largest), mend=mend)


def log_uniform(smallest: float, largest: float, count: int, rng: torch.Generator) -> Tensor:
    """``count`` factors whose logarithms are uniform, float64 ``[count]``."""
    low, high = math.log(smallest), math.log(largest)
    return torch.exp(low + (high - low) * torch.rand(count, generator=rng, dtype=torch.float64))
