"""A learned rule (a network) as a drop-in ``torch.optim`` optimizer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.optim.base import RuleOptimizer
from rayl2o.rules.base import Inputs, Rule


class LearnedOptimizer(RuleOptimizer):
    """Steps parameters by a coordinate-wise rule with given weights; any such rule, hand-made ones with phi ``{}`` too.

    No horizon is asked for; but a learned rule is trained for one, see its model card.

    Args:
        params: Parameters or groups, as in ``torch.optim``.
        rule: A coordinate-wise rule that needs at most the params.
        phi: Its weights, copied without a graph.
        lr: Multiplies the update; 1 takes the rule as it was trained.
        weight_decay: Decoupled, as in AdamW.
        maximize: Ascend instead.
        differentiable: Only False.

    Raises:
        UserError: If the rule needs more than a coordinate's gradient and value, or a setting is not allowed.
    """

    _kept = ("_digest", "rule", "phi", "_placed", "_reads_params")

    def __init__(
        self,
        params: ParamsT,
        rule: Rule,
        phi: Mapping[str, Tensor],
        lr: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not rule.coordinatewise or rule.needs - {"params"}:
            raise UserError(
                "only coordinate-wise rules run here", value=rule.kind, mend="use one such as rnnprop or dm"
            )
        self.rule = rule
        self.phi = {name: weight.detach().clone() for name, weight in phi.items()}
        self._placed: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}
        self._reads_params = "params" in rule.needs
        super().__init__(params, lr, weight_decay, maximize, differentiable, rule_digest(rule, self.phi))

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], params: ParamsT, **settings: Any) -> LearnedOptimizer:
        """From a rule file; ``settings`` are the constructor's.

        Raises:
            UserError: If the file cannot be read.
        """
        from rayl2o.rules.files import load_rule  # here, so that a rule in memory loads nothing about files

        loaded = load_rule(path)
        return cls(params, loaded.rule, loaded.phi, **settings)

    @property
    def formula(self) -> str:
        """What a network has instead of a formula: its kind and size."""
        return f"{self.rule.kind}, {sum(weight.numel() for weight in self.phi.values())} weights"

    def _new_coord(self, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        state = self.rule.init_state(self._phi_at(device, dtype), Layout.flat(size), 1, dtype, device)
        return state["coord"][0].clone()

    def _advance(self, step: int, grad: Tensor, coord: Tensor, params: Tensor | None) -> Tensor:
        inputs = Inputs(grad=grad, step=grad.new_full((), float(step)), params=params if self._reads_params else None)
        update, state = self.rule.update(self._phi_at(grad.device, grad.dtype), inputs, {"coord": coord})
        coord.copy_(state["coord"])
        return update

    def _phi_at(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        if (device, dtype) not in self._placed:
            self._placed[device, dtype] = {name: weight.to(device, dtype) for name, weight in self.phi.items()}
        return self._placed[device, dtype]


def rule_digest(rule: Rule, phi: Mapping[str, Tensor]) -> str:
    """SHA-256 of a rule's settings and weights."""
    digest = hashlib.sha256(repr(rule).encode())
    for name in sorted(phi):
        weight = phi[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()
