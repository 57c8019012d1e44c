from __future__ import annotations

import torch

from rayl2o.tasks.analytic.orthogonal import haar


def test_columns_are_orthonormal() -> None:
    for rows, columns in [(5, 5), (9, 4), (1, 1)]:
        basis = haar(rows, columns, torch.Generator().manual_seed(0))
        assert basis.shape == (rows, columns)
        assert basis.dtype == torch.float64
        torch.testing.assert_close(basis.T @ basis, torch.eye(columns, dtype=torch.float64), atol=1e-13, rtol=0)


def test_no_direction_is_preferred() -> None:
    """A Haar matrix has entries of mean 0 and variance 1 / rows, and a trace of mean 0 and variance 1."""
    rng = torch.Generator().manual_seed(1)
    bases = torch.stack([haar(4, 4, rng) for _ in range(2000)])
    assert bases.mean(0).abs().max() < 0.05
    torch.testing.assert_close(bases.square().mean(0), torch.full((4, 4), 0.25).double(), atol=0.02, rtol=0)
    traces = bases.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(traces.mean()) < 0.1
    assert abs(traces.std() - 1) < 0.1
