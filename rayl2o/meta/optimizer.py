"""A torch.optim optimizer as a pure function: its state is named tensors, so that checkpoints and resumes are exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name

OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = MappingProxyType(
    {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "nadam": torch.optim.NAdam,
        "radam": torch.optim.RAdam,
        "adagrad": torch.optim.Adagrad,
        "rmsprop": torch.optim.RMSprop,
        "sgd": torch.optim.SGD,
    }
)
_BETAS = ("beta1", "beta2")
_ADAM = (*_BETAS, "eps", "weight_decay")
SETTINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "adam": (*_ADAM, "amsgrad"),
        "adamw": (*_ADAM, "amsgrad"),
        "nadam": (*_ADAM, "momentum_decay"),
        "radam": _ADAM,
        "adagrad": ("lr_decay", "weight_decay", "initial_accumulator_value", "eps"),
        "rmsprop": ("alpha", "eps", "weight_decay", "momentum", "centered"),
        "sgd": ("momentum", "dampening", "weight_decay", "nesterov"),
    }
)
"""What each takes besides the learning rate, by torch's names; ``beta1`` and ``beta2`` are its ``betas``."""
_FLAGS = frozenset({"amsgrad", "centered", "nesterov"})
_COUNTERS = ("step", "mu_product")
_USUAL_BETAS = (0.9, 0.999)
NONFINITE = ("skip", "zero")
CLOCK = "updates"
"""In an optimizer's state, where the learning rate decays: how many updates it has made, int64. Weights' slots have a slash."""


@dataclass(frozen=True)
class MetaOptimizerConfig:
    """The optimizer of phi. The papers S and T use Adam, 1e-3, and nothing else of this.

    R's recipe (appendix D.2): ``clip_value: 5, decay: .8, decay_every: 500, l2: 1e-5``. L2O-Scale's (T's code): ``name: rmsprop,
    lr: 1e-6, settings: {alpha: .9, eps: 1e-20}, clip_value: 1e4, nonfinite: zero``, but for TensorFlow's accumulator, which
    starts at 1 and has eps under the root: torch's starts at 0, so its first steps are larger.

    Attributes:
        name: One of :data:`OPTIMIZERS`, from torch.optim.
        lr: Learning rate.
        clip_norm: Global-norm clip of the meta-gradient; 0 for none. After ``clip_value``.
        settings: Its other settings, by the names in :data:`SETTINGS`, torch's defaults for the rest; a flag is 0 or 1.
        clip_value: Every entry of the meta-gradient is clipped to this size; 0 for none. R: 5; L2O-Scale: 1e4.
        decay: The learning rate is multiplied by ``decay ** floor(n / decay_every)``, n being the updates that this optimizer
            has made; 1 for none. R: .8.
        decay_every: Updates. R: 500.
        decay_smooth: Without the floor: an exponential instead of stairs.
        l2: Adds the penalty ``l2 ||phi||^2`` to the loss: its gradient ``2 l2 phi`` is clipped with the rest. R's paper: 1e-5.
            The ``weight_decay`` of the settings is added by torch after the clip.
        l2_norm: Adds ``l2_norm ||phi||``, the norm not squared and over all weights together, as R's code has it: a pull of
            constant size towards 0, however small phi is. Gradient 0 at phi = 0.
        nonfinite: What becomes of a gradient with entries that are not finite: ``skip`` leaves the update out; ``zero`` sets
            them to 0 and goes on (L2O-Scale), unless no entry is finite. Either is counted by the learner.

    Raises:
        UserError: For an unknown name or setting, with the near miss, or a value out of range.
    """

    name: str = "adam"
    lr: float = 1e-3
    clip_norm: float = 0.0
    settings: dict[str, float] = field(default_factory=dict)
    clip_value: float = 0.0
    decay: float = 1.0
    decay_every: int = 500
    decay_smooth: bool = False
    l2: float = 0.0
    l2_norm: float = 0.0
    nonfinite: str = "skip"

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise unknown_name("meta-optimizer", self.name, OPTIMIZERS)
        if not 0 < self.lr < math.inf:
            raise UserError("the meta learning rate must be positive", value=self.lr, mend="use 1e-3")
        for name in ("clip_norm", "clip_value", "l2", "l2_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be at least 0", value=getattr(self, name), mend="0 turns it off")
        if not 0 < self.decay <= 1:
            raise UserError("decay must be in (0, 1]", value=self.decay, mend="1 turns it off")
        if self.decay_every < 1:
            raise UserError("decay_every must be at least 1", value=self.decay_every, mend="R uses 500")
        if self.nonfinite not in NONFINITE:
            raise unknown_name("way with a non-finite gradient", self.nonfinite, NONFINITE)
        self._check_settings()

    def _check_settings(self) -> None:
        for name, value in self.settings.items():
            if name not in SETTINGS[self.name]:
                raise unknown_name(f"setting of the meta-optimizer {self.name}", name, SETTINGS[self.name])
            if not math.isfinite(value):
                raise UserError(f"setting {name} must be finite", value=value, mend="leave it out for torch's default")
            if name in _FLAGS and value not in (0, 1):
                raise UserError(f"setting {name} is on or off", value=value, mend="give 1 or 0")
        if self.settings:
            try:
                OPTIMIZERS[self.name]([torch.zeros(1)], **self.arguments())
            except ValueError as error:
                raise UserError(
                    f"torch refuses the settings of {self.name}", value=self.settings, mend=str(error)
                ) from error

    def arguments(self, updates: int = 0) -> dict[str, Any]:
        """Keyword arguments of the torch optimizer after so many of its updates."""
        found: dict[str, Any] = {
            name: bool(value) if name in _FLAGS else value
            for name, value in self.settings.items()
            if name not in _BETAS
        }
        if any(name in self.settings for name in _BETAS):
            found["betas"] = tuple(self.settings.get(n, usual) for n, usual in zip(_BETAS, _USUAL_BETAS, strict=True))
        return {"lr": self.lr_after(updates), **found}

    def lr_after(self, updates: int) -> float:
        """Learning rate of the update that follows so many."""
        periods = updates / self.decay_every if self.decay_smooth else updates // self.decay_every
        return self.lr * float(self.decay**periods)


def apply_gradient(
    config: MetaOptimizerConfig, phi: Mapping[str, Tensor], grads: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One update of phi: penalty, clips, then the optimizer's step at the learning rate of its schedule.

    Args:
        config: Which optimizer.
        phi, grads: Equal names, shapes and dtypes; the gradients are finite.
        state: The optimizer's tensors as ``NAME/SLOT``, and :data:`CLOCK`; ``{}`` before the first update.

    Returns:
        New phi and new state; the arguments are left alone.
    """
    # In the order of names: a sum over weights must not depend on the order in which a file or a message listed them.
    params = {name: torch.nn.Parameter(phi[name].clone()) for name in sorted(phi)}
    updates = int(state[CLOCK]) if CLOCK in state else 0
    optimizer = OPTIMIZERS[config.name](params.values(), **config.arguments(updates))
    for name, param in params.items():
        slots = {key.rpartition("/")[2]: v.clone() for key, v in state.items() if key.rpartition("/")[0] == name}
        if slots:  # torch wants counters on the CPU, wherever the rest is
            optimizer.state[param] = {slot: v.cpu() if slot in _COUNTERS else v for slot, v in slots.items()}
        param.grad = grads[name].clone()
    _add_penalty(config, params)
    if config.clip_value:
        torch.nn.utils.clip_grad_value_(params.values(), config.clip_value)
    if config.clip_norm:
        torch.nn.utils.clip_grad_norm_(params.values(), config.clip_norm)
    optimizer.step()
    new_state = {
        f"{name}/{slot}": value.detach().clone()
        for name, param in params.items()
        for slot, value in optimizer.state[param].items()
        if isinstance(value, Tensor)
    }
    if config.decay != 1.0:
        new_state[CLOCK] = torch.tensor(updates + 1)
    return {name: param.detach() for name, param in params.items()}, new_state


def _add_penalty(config: MetaOptimizerConfig, params: Mapping[str, torch.nn.Parameter]) -> None:
    pull = 2.0 * config.l2
    if config.l2_norm:
        norm = float(grad_norm({name: param.detach() for name, param in params.items()}))
        pull += config.l2_norm / norm if norm else 0.0
    if pull:
        for param in params.values():
            assert param.grad is not None
            param.grad.add_(param.detach(), alpha=pull)


def grad_norm(grads: Mapping[str, Tensor]) -> Tensor:
    """Global norm, added up in the order of names."""
    return torch.stack([grads[name].square().sum() for name in sorted(grads)]).sum().sqrt()


def zero_nonfinite(grads: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int, int]:
    """The gradient with entries that are not finite set to 0, how many those are, and how many entries there are."""
    kept = {name: torch.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0) for name, value in grads.items()}
    bad = sum(int((~torch.isfinite(value)).sum()) for value in grads.values())
    return kept, bad, sum(value.numel() for value in grads.values())


def forget_moments(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of an optimizer that starts afresh at the same place of its schedule."""
    return {name: value for name, value in state.items() if name == CLOCK}
