from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, max_pool2d, pad

from rayl2o.tasks.vision.conv_rows import avg_pool_rows, batch_norm_rows, conv_rows, fold, max_pool_rows, unfold

K, B, C, O = 3, 4, 2, 6


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def assert_same(ours: Callable[..., Tensor], oracle: Callable[..., Tensor], *arguments: Tensor) -> None:
    """Values, gradients and second derivatives of every argument."""
    one: list[Tensor] = []
    two: list[Tensor] = []
    for function, found in ((ours, one), (oracle, two)):
        leaves = [argument.clone().requires_grad_() for argument in arguments]
        values = function(*leaves)
        grads = torch.autograd.grad((values * torch.sin(values)).sum(), leaves, create_graph=True)
        total = sum((grad * normal(*grad.shape, seed=7)).sum() for grad in grads)
        assert isinstance(total, Tensor)
        found += [values, *grads, *torch.autograd.grad(total, leaves)]
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("padding", "zeros"), [("valid", 0), (0, 0), (1, 1), (2, 2)])
@pytest.mark.parametrize("size", [7, 8])
def test_convolution_is_torchs_one_by_one(stride: int, padding: str | int, zeros: int, size: int) -> None:
    assert_same(
        lambda x, w, b: conv_rows(x, w, b, stride=stride, padding=padding),
        lambda x, w, b: torch.stack([conv2d(x[k], w[k], b[k], stride, zeros) for k in range(K)]),
        normal(K, B, C, size, size),
        normal(K, O, C, 3, 3, seed=1),
        normal(K, O, seed=2),
    )


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [
        (8, 3, 1, 1, 1),
        (8, 3, 2, 0, 1),
        (7, 3, 2, 1, 1),
        (8, 2, 1, 0, 1),
        (8, 2, 2, 0, 0),
        (8, 5, 3, 1, 2),
        (8, 1, 2, 0, 0),
    ],
)
def test_same_is_that_of_tensorflow(size: int, kernel: int, stride: int, before: int, after: int) -> None:
    assert_same(
        lambda x, w: conv_rows(x, w, stride=stride, padding="same"),
        lambda x, w: torch.stack([conv2d(pad(x[k], (before, after) * 2), w[k], None, stride) for k in range(K)]),
        normal(K, B, C, size, size),
        normal(K, O, C, kernel, kernel, seed=1),
    )
    result = conv_rows(normal(K, B, C, size, size), normal(K, O, C, kernel, kernel), stride=stride, padding="same")
    assert result.shape == (K, B, O, *[-(-size // stride)] * 2)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("rows", [1, K])
def test_groups_within_an_instance_and_shared_inputs(groups: int, rows: int) -> None:
    assert_same(
        lambda x, w: conv_rows(x, w, padding=1, groups=groups),
        lambda x, w: torch.stack([conv2d(x[k % rows], w[k], padding=1, groups=groups) for k in range(K)]),
        normal(rows, B, 4, 6, 5),
        normal(K, 8, 4 // groups, 3, 3, seed=1),
    )


def test_inputs_shared_by_all() -> None:
    assert_same(
        lambda x, w, b: conv_rows(x, w, b, stride=2),
        lambda x, w, b: torch.stack([conv2d(x[0], w[k], b[k], 2) for k in range(K)]),
        normal(1, B, C, 7, 6),
        normal(K, O, C, 3, 2, seed=1),
        normal(K, O, seed=2),
    )


def test_pooling_is_torchs_one_by_one() -> None:
    images = normal(K, B, C, 7, 7)
    assert_same(lambda x: max_pool_rows(x, 2), lambda x: torch.stack([max_pool2d(x[k], 2) for k in range(K)]), images)
    assert_same(
        lambda x: max_pool_rows(x, 3, stride=1),
        lambda x: torch.stack([max_pool2d(x[k], 3, 1) for k in range(K)]),
        images,
    )
    assert_same(
        lambda x: avg_pool_rows(x, 3, stride=1, padding=1),
        lambda x: torch.stack([avg_pool2d(x[k], 3, 1, 1, count_include_pad=False) for k in range(K)]),
        images,
    )


def test_zeros_of_the_padding_are_not_counted() -> None:
    assert torch.equal(avg_pool_rows(torch.ones(1, 1, 1, 4, 4), 3, 1, 1), torch.ones(1, 1, 1, 4, 4))


@pytest.mark.parametrize("size", [(), (5, 3)])
@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("with_shift", [True, False])
def test_batch_norm_is_its_formula(size: tuple[int, ...], with_scale: bool, with_shift: bool) -> None:
    """The second derivatives too, which torch gets wrong for a shift without a scale."""
    axes = [1, *range(3, 3 + len(size))]

    def formula(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        view = (K, 1, C, *[1] * len(size))
        zero = 0 * (scale + shift).view(view)
        values = (x - mean) / torch.sqrt(variance + 1e-3) + zero
        values = values * scale.view(view) if with_scale else values
        return values + shift.view(view) if with_shift else values

    def ours(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        values = batch_norm_rows(x, scale if with_scale else None, shift if with_shift else None, 1e-3)
        return values + 0 * (scale + shift).view(K, 1, C, *[1] * len(size))

    assert_same(ours, formula, normal(K, B, C, *size), normal(K, C, seed=1), normal(K, C, seed=2))


def test_batch_norm_has_the_eps_of_torch_by_default() -> None:
    values = 1e-3 * normal(1, B, C, 3, 3)
    torch.testing.assert_close(batch_norm_rows(values)[0], batch_norm(values[0], None, None, training=True))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_chain_stays_in_one_memory_format(k: int, channels: int) -> None:
    """Also where channels are 1, so that the strides do not tell it by themselves."""
    images = torch.rand(k, B, channels, 8, 8)
    values = conv_rows(images, torch.rand(k, O, channels, 3, 3), padding="same")
    for step in (lambda x: x, batch_norm_rows, torch.relu, lambda x: max_pool_rows(x, 2)):
        values = step(values)
        folded = fold(values)
        assert folded.is_contiguous(memory_format=torch.channels_last)
        assert not folded.is_contiguous()
        assert folded.data_ptr() == values.data_ptr()
        assert torch.equal(unfold(folded, k), values)


def test_folding_puts_instances_side_by_side() -> None:
    images, flat = normal(K, B, C, 4, 5), normal(K, B, C)
    assert torch.equal(fold(images), torch.cat(list(images), 1))
    assert torch.equal(fold(flat), torch.cat(list(flat), 1))
    assert torch.equal(unfold(fold(images), K), images)
    assert torch.equal(unfold(fold(flat), K), flat)
    crop = unfold(fold(images), K)[..., 1:3, 2:4]
    assert torch.equal(fold(crop), torch.cat(list(crop), 1))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 3), (2, 5), (6, 16), (16, 7)])
def test_a_sick_instance_reaches_no_other(poison: float, channels: int, outputs: int) -> None:
    """Kernels pad channels to the width of vectors: a 0 times NaN there would be NaN in the neighbour."""

    def results(x: Tensor, w: Tensor, b: Tensor) -> list[Tensor]:
        leaves = [tensor.clone().requires_grad_() for tensor in (x, w, b)]
        values = conv_rows(*leaves, padding="same")
        values = max_pool_rows(batch_norm_rows(values, shift=leaves[2]), 2)
        grads = torch.autograd.grad(values.square().sum(), leaves, create_graph=True)
        total = sum(grad.square().sum() for grad in grads)
        assert isinstance(total, Tensor)
        return [values, *grads, *torch.autograd.grad(total, leaves)]

    healthy = [
        torch.randn(*shape, generator=torch.Generator().manual_seed(4))
        for shape in ((4, 3, channels, 6, 6), (4, outputs, channels, 3, 3), (4, outputs))
    ]
    sick = [tensor.clone() for tensor in healthy]
    for tensor in sick:
        tensor[1] = poison
    others = [0, 2, 3]
    for bad, good in zip(results(*sick), results(*healthy), strict=True):
        assert torch.equal(bad[others], good[others])
