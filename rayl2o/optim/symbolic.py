"""A formula as a drop-in ``torch.optim`` optimizer."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from rayl2o.errors import UserError
from rayl2o.optim.base import RuleOptimizer
from rayl2o.rules.expression import Expression
from rayl2o.rules.named import is_named, named_rule
from rayl2o.rules.operands import OperandBank
from rayl2o.rules.symbolic import SymbolicRule


class SymbolicOptimizer(RuleOptimizer):
    """Steps parameters by a formula: ``params += lr * gain * clamp(formula)``; the minus sign is the formula's.

    No horizon is asked for or assumed: a formula without the operand ``t`` acts the same at every step.

    Args:
        params: Parameters or groups, as in ``torch.optim``.
        rule: A rule, an expression, the text of a formula such as ``"-0.01*ema(g_tilde, 0.9)"``, the name of a shipped one
            such as ``"distilled-rnnprop-8b"``, or the path of a rule file.
        lr: Multiplies the update; 1 takes the rule as it is.
        weight_decay: Decoupled, as in AdamW.
        maximize: Ascend instead.
        differentiable: Only False.

    Raises:
        UserError: If the formula, the file or a setting is not allowed.

    Example:
        >>> model = torch.nn.Linear(4, 2)
        >>> optimizer = SymbolicOptimizer(model.parameters(), "-0.1*ema(g, 0.9)")
    """

    _kept = ("_digest", "rule", "_weights", "_bank")

    def __init__(
        self,
        params: ParamsT,
        rule: SymbolicRule | Expression | str,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        self.rule = as_symbolic_rule(rule)
        terms = self.rule.expression.linear_terms()
        self._weights = None if terms is None else tuple(terms.values())
        self._bank = self.rule.bank if terms is None else OperandBank(tuple(terms))
        super().__init__(params, lr, weight_decay, maximize, differentiable, self.rule.digest)

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], params: ParamsT, **settings: Any) -> SymbolicOptimizer:
        """From a rule file; ``settings`` are the constructor's.

        Raises:
            UserError: If the file cannot be read or holds no formula.
        """
        return cls(params, _load(os.fspath(path)), **settings)

    @property
    def formula(self) -> str:
        """The whole update, short and readable; ``rule.formula`` is the exact text."""
        return self.rule.pretty()

    def _new_coord(self, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.zeros(self._bank.state_size, size, dtype=dtype, device=device).t()

    def _advance(self, step: int, grad: Tensor, coord: Tensor, params: Tensor | None) -> Tensor:
        del params
        values = self._bank.advance_(grad, step, coord.t())
        if self._weights is None:
            update = self.rule.expression.evaluate(values).expand_as(grad)
        else:
            update = _weighted_sum(self._weights, tuple(values.values()), grad)
        clamp, gain = self.rule.clamp, self.rule.gain
        update = update if clamp is None else update.clamp(-clamp, clamp)
        return update if gain == 1.0 else update * gain


def _weighted_sum(weights: tuple[float, ...], values: tuple[Tensor, ...], like: Tensor) -> Tensor:
    if not weights:
        return torch.zeros_like(like)
    total = values[0] * weights[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total.add_(value, alpha=weight)
    return total


def as_symbolic_rule(rule: SymbolicRule | Expression | str) -> SymbolicRule:
    """A rule from whatever names one: text that ends in ``.json`` is a path, a shipped rule goes by its name, else a formula.

    Raises:
        UserError: If the formula or the file is not allowed.
    """
    if isinstance(rule, SymbolicRule):
        return rule
    if isinstance(rule, Expression):
        return SymbolicRule(rule)
    if is_named(rule):
        return named_rule(rule)
    return _load(rule) if rule.endswith(".json") else SymbolicRule.from_formula(rule)


def _load(path: str) -> SymbolicRule:
    from rayl2o.rules.files import load_rule  # here, so that formulas alone load nothing about files

    rule = load_rule(path).rule
    if not isinstance(rule, SymbolicRule):
        raise UserError("the file holds no formula", value=rule.kind, mend="use LearnedOptimizer for a learned rule")
    return rule
