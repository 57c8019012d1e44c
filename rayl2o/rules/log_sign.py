"""The log-and-sign preprocessing of a gradient: its size on a log scale, and its sign, with a linear part around 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 2.0**-23
"""Machine epsilon of float32, used in every dtype: it is part of the rule, not of the arithmetic."""


def log_sign(grad: Tensor, k: float) -> tuple[Tensor, Tensor]:
    """``(max(ln(|g| + eps) / k, -1), clip(e^k g, -1, 1))``, each shaped like ``grad``.

    The two clamps reproduce the piecewise definition: below |g| = e^-k the first is -1 and the second is linear, above it the
    first is logarithmic and the second is the sign. At g = 0 the derivatives are 0 and e^k.

    Source: T's code; Andrychowicz et al. 2016, appendix A, with p = 10 for k. The published weights were trained with k = 5.
    """
    size = torch.clamp_min(torch.log(grad.abs() + EPS) / k, -1.0)
    return size, torch.clamp(grad * math.exp(k), -1.0, 1.0)
