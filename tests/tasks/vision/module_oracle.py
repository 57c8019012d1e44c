"""Compares a small network of ours with the same one as a ``torch.nn`` module that was written independently of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rayl2o.tasks.data import info
from rayl2o.tasks.vision.conv_net import ConvNet
from rayl2o.tasks.vision.nas_cell import NASCell


def assert_is_module(family: ConvNet | NASCell, make: Callable[[], nn.Module], k: int = 2, batch: int = 4) -> None:
    """Losses and gradients of K instances are those of the module with the same weights, one after the other, to 1e-10."""
    with torch.random.fork_rng():  # its own start is drawn from the global generator
        module = make().double().train()
    layout, sizes, rng = family.layout, info(family.data), torch.Generator().manual_seed(3)
    params = 0.3 * torch.randn(k, layout.size, generator=rng, dtype=torch.float64)
    params.requires_grad_()
    inputs = torch.rand(k, batch, sizes.features, generator=rng, dtype=torch.float64)
    labels = torch.randint(_outputs(module), (k, batch), generator=rng)
    images = inputs.view(k, batch, *sizes.shape)
    logits = family.network.logits(layout.unflatten(params), images)
    for row in range(k):
        _load(module, layout.unflatten(params[row].detach()))
        loss = nn.CrossEntropyLoss()(module(inputs[row]), labels[row])
        ours = nn.CrossEntropyLoss()(logits[row], labels[row])
        torch.testing.assert_close(ours, loss, rtol=1e-10, atol=0)
        grad = torch.autograd.grad(ours, params, retain_graph=True)[0][row]
        expected = torch.autograd.grad(loss, _trained(module), materialize_grads=True)
        flat = torch.cat([part.mT.flatten() if part.dim() == 2 else part.flatten() for part in expected])
        torch.testing.assert_close(grad, flat, rtol=1e-10, atol=1e-10 * float(flat.abs().max()))


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _load(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """In order; dense weights are ``[in, out]`` with us."""
    with torch.no_grad():
        for parameter, tensor in zip(_trained(module), tensors.values(), strict=True):
            parameter.copy_(tensor.mT if tensor.dim() == 2 else tensor)


def _outputs(module: nn.Module) -> int:
    return [part.out_features for part in module.modules() if isinstance(part, nn.Linear)][-1]
