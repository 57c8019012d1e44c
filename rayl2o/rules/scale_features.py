"""What L2O-Scale feeds to its networks: the gradient on several time scales, each relative to its own running size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.rules.moments import safe_sqrt

SQUARE_FLOOR = 1e-12
"""Added to every square before it is averaged."""
TINY = 1e-16
"""Added to a mean square before its root or logarithm is taken."""


@dataclass(frozen=True)
class Memory:
    """What the features remember of each coordinate.

    Attributes:
        means: Averages of the gradient ``[G, K, D]``, each on twice the time scale of the one before.
        squares: Averages of the square of each of them ``[G, K, D]``.
    """

    means: Tensor
    squares: Tensor


def remembered(memory: Memory, grad: Tensor, input_decay: Tensor, scale_decay: Tensor) -> Memory:
    """The memory after one more gradient.

    Args:
        memory: Before it.
        grad: ``[K, D]``.
        input_decay: ``[K, D]`` in 0..1, decay d of the first average; the next have sqrt(d), sqrt(sqrt(d)), ...
        scale_decay: ``[K, D]`` in 0..1, decay of all mean squares.
    """
    ladder = [input_decay]
    for _ in range(len(memory.means) - 1):
        ladder.append(safe_sqrt(ladder[-1]))  # the decay before the first step is 0
    decays = torch.stack(ladder)
    means = (1.0 - decays) * grad + decays * memory.means
    squares = (1.0 - scale_decay) * (means * means + SQUARE_FLOOR) + scale_decay * memory.squares
    return Memory(means, squares)


def scaled_gradients(memory: Memory) -> Tensor:
    """``asinh(mean / rms)`` per time scale, ``[G, K, D]``."""
    return torch.asinh(memory.means / torch.sqrt(memory.squares + TINY))


def network_inputs(memory: Memory, scaled: Tensor, log_lr: Tensor) -> Tensor:
    """The 3 G numbers per coordinate that the lowest level sees, ``[3 G, K, D]``.

    In order: the G scaled gradients; the G - 1 products of neighbours (a sign of curvature); the logarithms of the G mean
    squares less their mean (signal against noise); the log learning rate less its mean over the problem.

    Args:
        memory: After this step's gradient.
        scaled: Of :func:`scaled_gradients`.
        log_lr: ``[K, D]``.
    """
    log_squares = torch.log(memory.squares + TINY)
    relative_lr = log_lr - log_lr.mean(-1, keepdim=True)
    return torch.cat(
        (scaled, scaled[:-1] * scaled[1:], log_squares - log_squares.mean(0, keepdim=True), relative_lr.unsqueeze(0))
    )
