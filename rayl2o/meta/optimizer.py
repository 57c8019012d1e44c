"""A torch.optim optimizer as a pure function: its state is named tensors, so that checkpoints and resumes are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


@dataclass(frozen=True)
class MetaOptimizerConfig:
    """The optimizer of phi. The papers S and T use Adam, 1e-3.

    Attributes:
        name: ``adam``, ``sgd`` or ``rmsprop`` of torch.optim, its other settings at torch's defaults.
        lr: Learning rate.
        clip_norm: Global-norm clip of the meta-gradient; 0 for none.
    """

    name: str = "adam"
    lr: float = 1e-3
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise unknown_name("meta-optimizer", self.name, OPTIMIZERS)
        if not self.lr > 0:
            raise UserError("the meta learning rate must be positive", value=self.lr, mend="use 1e-3")
        if self.clip_norm < 0:
            raise UserError("clip_norm must be at least 0", value=self.clip_norm, mend="0 turns clipping off")


def apply_gradient(
    config: MetaOptimizerConfig, phi: Mapping[str, Tensor], grads: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One update of phi.

    Args:
        config: Which optimizer.
        phi, grads: Equal names, shapes and dtypes; the gradients are finite.
        state: The optimizer's tensors as ``NAME/SLOT``; ``{}`` before the first update.

    Returns:
        New phi and new state; the arguments are left alone.
    """
    # In the order of names: a sum over weights must not depend on the order in which a file or a message listed them.
    params = {name: torch.nn.Parameter(phi[name].clone()) for name in sorted(phi)}
    optimizer = OPTIMIZERS[config.name](params.values(), lr=config.lr)  # type: ignore[call-arg]
    for name, param in params.items():
        slots = {key.rpartition("/")[2]: v.clone() for key, v in state.items() if key.rpartition("/")[0] == name}
        if slots:
            optimizer.state[param] = slots
        param.grad = grads[name].clone()
    if config.clip_norm:
        torch.nn.utils.clip_grad_norm_(params.values(), config.clip_norm)
    optimizer.step()
    new_state = {
        f"{name}/{slot}": value.detach().clone()
        for name, param in params.items()
        for slot, value in optimizer.state[param].items()
        if isinstance(value, Tensor)
    }
    return {name: param.detach() for name, param in params.items()}, new_state
