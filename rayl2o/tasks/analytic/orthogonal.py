"""Random orthonormal columns, uniform (Haar) among all of them."""

from __future__ import annotations

import torch
from torch import Tensor


def haar(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Orthonormal columns, float64 ``[rows, columns]`` with ``columns <= rows``, from ``rows * columns`` normal draws.

    Mezzadri, *How to generate random matrices from the classical compact groups*, 2007.
    """
    basis: Tensor
    triangle: Tensor
    basis, triangle = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))
    return basis * triangle.diagonal().sign()  # without this the basis depends on LAPACK's choice of signs
