"""Compares a residual network of ours with the same one as a ``torch.nn`` module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rayl2o.tasks.vision.residual_network import ResidualNetwork


def make(module: Callable[[], nn.Module], device: str = "cpu") -> nn.Module:
    """The module in train mode; the global generator, which its initialisation draws from, is left as it was."""
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return module().double().train()


def assert_same_tensors(network: ResidualNetwork, module: nn.Module) -> None:
    """Same names, shapes and order; norms are those of ``BatchNorm2d``."""
    layout = network.layout
    assert dict(zip(layout.names, layout.shapes, strict=True)) == {
        name: tuple(parameter.shape) for name, parameter in module.named_parameters()
    }
    assert layout.names == tuple(name for name, _ in module.named_parameters())
    norms = {name for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    kinds = dict(zip(layout.names, layout.kinds, strict=True))
    assert {name.rpartition(".")[0] for name, kind in kinds.items() if kind == "norm"} == norms
    assert [name for name, kind in kinds.items() if kind == "bias"] == ["linear.bias"]


def assert_same_derivatives(network: ResidualNetwork, module: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Losses, gradients and Hessian-vector products of K instances are those of the module, one after the other.

    Args:
        network: Ours.
        module: In train mode, float64.
        images: ``[K, B, C, H, W]``.
        labels: ``[K, B]``.
    """
    k, layout = len(images), network.layout
    rng = torch.Generator().manual_seed(5)
    params, along = (torch.randn(k, layout.size, generator=rng, dtype=torch.float64) for _ in range(2))
    params = (0.3 * params).requires_grad_()
    logits = network.logits(layout.unflatten(params), images)
    losses = torch.stack([nn.CrossEntropyLoss()(*pair) for pair in zip(logits, labels, strict=True)])
    (grads,) = torch.autograd.grad(losses.sum(), params, create_graph=True)
    (products,) = torch.autograd.grad(grads, params, along)
    for row in range(k):
        module.load_state_dict({name: part[row] for name, part in layout.unflatten(params).items()}, strict=False)
        loss = nn.CrossEntropyLoss()(module(images[row]), labels[row])
        own = tuple(module.parameters())
        grad = torch.autograd.grad(loss, own, create_graph=True)
        product = torch.autograd.grad(grad, own, tuple(layout.unflatten(along[row]).values()))
        torch.testing.assert_close(losses[row], loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(grads[row], _flat(grad), rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(products[row], _flat(product), rtol=1e-8, atol=1e-9)


def random_images(shape: tuple[int, ...], k: int, batch: int) -> tuple[Tensor, Tensor]:
    """Images ``[K, B, *shape]`` and labels ``[K, B]`` of ten classes."""
    rng = torch.Generator().manual_seed(7)
    images = torch.randn(k, batch, *shape, generator=rng, dtype=torch.float64)
    return images, torch.randint(10, (k, batch), generator=rng)


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
