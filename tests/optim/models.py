"""Small models and a training loop that the optimizer tests share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def model(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """A little network, the same at every call, with a 0-dim parameter and one that never gets a gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    net.register_parameter("scale", nn.Parameter(torch.tensor(1.5)))
    net.register_parameter("unused", nn.Parameter(torch.ones(2)))
    return net.to(dtype)


def loss_of(net: nn.Sequential, step: int) -> Tensor:
    """A fresh batch per step."""
    draw = torch.Generator().manual_seed(100 + step)
    scale, dtype = net.get_parameter("scale"), net.get_parameter("scale").dtype
    x, y = torch.randn(9, 5, generator=draw).to(dtype), torch.randn(9, 3, generator=draw).to(dtype)
    return torch.nn.functional.mse_loss(scale * net(x), y)


def train(net: nn.Sequential, optimizer: Optimizer, steps: int, first: int = 0) -> list[Tensor]:
    """Trains and returns copies of the parameters."""
    for step in range(first, first + steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(net, step))
        optimizer.step()
    return [param.detach().clone() for param in net.parameters()]


def trained(
    make: Callable[[nn.Sequential], Optimizer], steps: int = 6, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """The parameters after ``steps`` of a fresh model."""
    net = model(dtype)
    return train(net, make(net), steps)
