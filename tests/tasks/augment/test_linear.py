from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rayl2o.seeds import generator
from rayl2o.tasks.augment.linear import Diagonal, LinearBatch, LinearMap, Reflections
from tests.tasks.augment.pairs import QUADRATIC

K, SIZES = 3, (4, 1, 3)
D = sum(SIZES)


def _normal(purpose: str, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator("linear", purpose), dtype=torch.float64)


def _unit(normal: Tensor) -> Tensor:
    return torch.cat([part / part.norm(dim=1, keepdim=True) for part in torch.split(normal, list(SIZES), dim=1)], dim=1)


MAPS: dict[str, LinearMap] = {
    "diagonal": Diagonal(_normal("factor", K, D)),
    "one reflection": Reflections((_unit(_normal("a", K, D)),), SIZES),
    "three reflections": Reflections(tuple(_unit(_normal(name, K, D)) for name in "abc"), SIZES),
}


def matrix(a: LinearMap) -> Tensor:
    """A, ``[K, D, D]``."""
    columns = [a.apply(torch.eye(D, dtype=torch.float64)[i].expand(K, D)) for i in range(D)]
    return torch.stack(columns, dim=2)


@pytest.mark.parametrize("name", MAPS)
def test_transpose_and_solve_belong_to_the_map(name: str) -> None:
    a, x = MAPS[name], _normal("x", K, D)
    dense = matrix(a)
    torch.testing.assert_close(a.apply(x), torch.einsum("kij,kj->ki", dense, x))
    torch.testing.assert_close(a.transpose(x), torch.einsum("kji,kj->ki", dense, x))
    torch.testing.assert_close(a.solve(a.apply(x)), x)
    torch.testing.assert_close(a.apply(a.solve(x)), x)


def test_reflections_turn_each_tensor_by_itself() -> None:
    dense = matrix(MAPS["three reflections"])
    torch.testing.assert_close(dense @ dense.mT, torch.eye(D, dtype=torch.float64).expand(K, D, D))
    whose = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))
    apart = whose[:, None] != whose
    assert torch.equal(dense[:, apart], torch.zeros(K, int(apart.sum()), dtype=torch.float64))
    assert dense[:, :4, :4].abs().min() > 1e-4


def test_a_batch_in_other_coordinates() -> None:
    """f(A y): loss, gradient A' g and Hessian A' H A against the dense formulas."""
    rng = generator("any")
    inner = QUADRATIC.build([QUADRATIC.sample(rng) for _ in range(K)], dtype=torch.float64)
    size = inner.layout.size
    a = Reflections((_normal("u", K, size) / _normal("u", K, size).norm(dim=1, keepdim=True),), (size,))
    batch = LinearBatch(inner, torch.float64, lambda dtype: a)
    dense = torch.stack([a.apply(torch.eye(size, dtype=torch.float64)[i].expand(K, size)) for i in range(size)], dim=2)
    y, v = _normal("y", K, size), _normal("v", K, size)
    x = torch.einsum("kij,kj->ki", dense, y)
    loss, grad = batch.loss_and_grad(y, None)
    expected, inner_grad = inner.loss_and_grad(x, None)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, torch.einsum("kji,kj->ki", dense, inner_grad))
    hessian = dense.mT @ inner.hessian @ dense
    torch.testing.assert_close(batch.hvp(y, None, v), torch.einsum("kij,kj->ki", hessian, v))
    torch.testing.assert_close(
        a.apply(batch.init_params([1, 2, 3])), inner.init_params([1, 2, 3]), rtol=1e-6, atol=1e-6
    )
