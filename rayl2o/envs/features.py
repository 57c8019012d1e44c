"""What an agent sees at a coordinate: the signals that rules read, and how the whole instance fares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.log_sign import log_sign
from rayl2o.rules.operands import SIGNALS, OperandBank
from rayl2o.rules.parse import parse_expression

PAIR: Mapping[str, str] = MappingProxyType(
    {"log_g": "DM's first input, log of |g|, k = 10", "sign_g": "DM's second input, sign of g, linear near 0, k = 10"}
)
"""The log-and-sign preprocessing of :func:`rayl2o.rules.log_sign.log_sign` (Andrychowicz et al. 2016, appendix A)."""
INSTANCE: Mapping[str, str] = MappingProxyType(
    {
        "progress": "steps made / horizon",
        "log_loss": "log10 of the minibatch loss over the first one",
        "log_grad": "log10 of the root mean square of the gradient",
        "gain": "the last reward",
        "cosine": "cosine between this gradient and the last, 0 at the start",
    }
)
"""Features of the whole instance, equal at all its coordinates."""
DEFAULT = ("q", "g_tilde", "m_tilde", "log_loss", "log_grad", "progress")
_PAIR_K = 10.0
_SMALLEST_RMS = 1e-30


@dataclass(frozen=True)
class View:
    """What there is to see of K instances at a step.

    Attributes:
        grad: ``[K, C]``, at the coordinates that are seen.
        step: Steps made, float ``[K, 1]``.
        instance: What gives the values ``[K]`` of :data:`INSTANCE`, by name.
    """

    grad: Tensor
    step: Tensor
    instance: Mapping[str, Callable[[], Tensor]]


@dataclass(frozen=True)
class Features:
    """A list of features, each with its name: one of :data:`INSTANCE`, one of :data:`PAIR`, or a formula's text.

    A formula is what a symbolic rule may be, such as ``g_tilde``, ``lag(q, 1)`` or ``ema(g, 0.9)``, at each coordinate.

    Attributes:
        names: As they were given.
        formulas: Those that are formulas, by name.
    """

    names: tuple[str, ...]
    formulas: Mapping[str, Expression]

    @classmethod
    def parse(cls, names: Sequence[str]) -> Features:
        """From their names.

        Raises:
            UserError: If there are none, one is given twice, or one is neither a feature nor a formula.
        """
        known = ", ".join((*INSTANCE, *PAIR, *SIGNALS))
        if isinstance(names, str) or not names or len(set(names)) != len(names):
            mend = f"list one or more different names among {known}, or formulas"
            raise UserError("features of an environment are bad", value=names, mend=mend)
        formulas = {}
        for name in names:
            if name not in INSTANCE and name not in PAIR:
                try:
                    formulas[name] = parse_expression(name)
                except UserError as error:
                    mend = f"use one of {known}, or a formula: {error}"
                    raise UserError("unknown feature of an environment", value=name, mend=mend) from error
        return cls(tuple(names), formulas)

    @cached_property
    def bank(self) -> OperandBank:
        """What the formulas read, with its state."""
        operands = [operand for formula in self.formulas.values() for operand in formula.operands]
        return OperandBank(tuple(dict.fromkeys(operands)))

    def start(self, k: int, coords: int) -> Tensor:
        """State ``[K, C, S]`` before the first step."""
        return torch.zeros(k, coords, self.bank.state_size)

    def observe(self, view: View, state: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        """The features ``[K, C, F]``, finite and within plus or minus ``clip``, and the new state ``[K, C, S]``."""
        values, state = self.bank.advance(view.grad, view.step, state)
        columns = []
        for name in self.names:
            if name in INSTANCE:
                columns.append(view.instance[name]()[:, None].expand_as(view.grad))
            elif name in PAIR:
                columns.append(log_sign(view.grad, _PAIR_K)[name == "sign_g"])
            else:
                columns.append(self.formulas[name].evaluate(values).expand_as(view.grad))
        seen = torch.stack(columns, dim=-1)
        return torch.nan_to_num(seen, nan=0.0).clamp(-clip, clip), state


def log_rms(grad: Tensor) -> Tensor:
    """log10 of the root mean square ``[K]`` of gradients ``[K, D]``; a gradient of 0 counts as 1e-30."""
    return grad.square().mean(1).sqrt().clamp_min(_SMALLEST_RMS).log10()


def cosine(one: Tensor, two: Tensor) -> Tensor:
    """Cosines ``[K]`` between rows ``[K, D]``; 0 where one of them is 0."""
    return torch.nn.functional.cosine_similarity(one, two, dim=1, eps=_SMALLEST_RMS)
