"""A formula as an update rule: ``delta = gain * clamp(expression(operands))``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, zero_state
from rayl2o.rules.expression import Expression, read_json
from rayl2o.rules.operands import Operand, OperandBank, plain
from rayl2o.rules.parse import parse_expression

SCHEMA_VERSION = 1
_KEYS = frozenset({"schema_version", "kind", "name", "formula", "expression", "clamp", "gain", "buffers", "card"})


@dataclass(frozen=True)
class SymbolicRule:
    """A coordinate-wise rule from a formula. The sign is the formula's: ``-0.1*g`` descends.

    phi holds ``coefficients [n]``, the constants in the order of ``Expression.constants``, and the 0-dim ``gain``.

    Attributes:
        expression: The formula.
        clamp: The formula's value is cut to plus or minus this before the gain; None leaves it.
        gain: Multiplies the clamped value.
        name: For tables and files.
        card: JSON-able model card: tasks, horizon, compute, known failures.

    Raises:
        UserError: If clamp is not positive and finite, or gain is not finite.
    """

    expression: Expression
    clamp: float | None = None
    gain: float = 1.0
    name: str = "symbolic"
    card: Mapping[str, Any] = field(default_factory=dict, hash=False)

    kind: ClassVar[str] = "symbolic"
    needs: ClassVar[frozenset[str]] = frozenset()
    coordinatewise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.clamp is not None and not (_is_number(self.clamp) and self.clamp > 0):
            raise UserError("bad clamp", value=plain(self.clamp), mend="give a positive number, or none at all")
        if not _is_number(self.gain):
            raise UserError("bad gain", value=plain(self.gain), mend="give a finite number")
        if not isinstance(self.name, str):
            raise UserError("a rule is named by text", value=plain(self.name), mend="give a name")

    @classmethod
    def from_formula(
        cls, text: str, clamp: float | None = None, gain: float = 1.0, name: str = "symbolic"
    ) -> SymbolicRule:
        """The rule of a formula's text.

        Raises:
            UserError: If the text is not a formula.
        """
        return cls(parse_expression(text), clamp, gain, name)

    @cached_property
    def bank(self) -> OperandBank:
        """What the formula reads, with its state."""
        return OperandBank(self.expression.operands)

    @property
    def state_size(self) -> int:
        """S, floats of state per coordinate."""
        return self.bank.state_size

    @property
    def buffers(self) -> int:
        """State per parameter, in parameters: Adam has 2."""
        return self.state_size

    @property
    def formula(self) -> str:
        """Exact text of the expression, without clamp and gain."""
        return str(self.expression)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what determines the updates: expression, clamp and gain."""
        text = json.dumps([self.expression.to_json(), self.clamp, self.gain], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def pretty(self, digits: int = 3) -> str:
        """One short line for people: the whole update."""
        text = self.expression.pretty(digits)
        name = "" if self.clamp is None else f"clamp±{self.clamp:.{digits}g}"
        if name or self.gain != 1.0:
            text = f"{name}({text})"
        if self.gain != 1.0:
            text = f"{self.gain:.{digits}g} {text}"
        return f"Δθ = {text}"

    def latex(self, digits: int = 3) -> str:
        """The whole update as LaTeX math without dollar signs, within what mathtext draws."""
        text = self.expression.latex(digits)
        name = "" if self.clamp is None else rf"\mathrm{{clamp}}_{{\pm {self.clamp:.{digits}g}}}"
        if name or self.gain != 1.0:
            text = rf"{name}\left({text}\right)"
        if self.gain != 1.0:
            text = rf"{self.gain:.{digits}g} \, {text}"
        return rf"\Delta\theta_{{t}} = {text}"

    def init_phi(self, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Phi:
        """The formula's own constants and the gain; nothing is drawn."""
        del generator
        return {
            "coefficients": torch.tensor(self.expression.constants, dtype=dtype),
            "gain": torch.tensor(self.gain, dtype=dtype),
        }

    def with_phi(self, phi: Mapping[str, Tensor]) -> SymbolicRule:
        """The rule with phi (tuned constants and gain) folded back in.

        Raises:
            UserError: If a value is not allowed in a formula, such as NaN.
        """
        expression = self.expression.with_constants([float(value) for value in phi["coefficients"]])
        return SymbolicRule(expression, self.clamp, float(phi["gain"]), self.name, self.card)

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """Zeros: nothing has been seen."""
        del phi
        return zero_state(self.state_size, layout, k, dtype, device)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step, see :class:`Rule`."""
        values, coord = self.bank.advance(inputs.grad, inputs.step, state["coord"])
        return self._delta(phi, values, inputs.grad), {"coord": coord}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps, see :class:`Rule`: the operands do not depend on phi, so the formula is evaluated once for all steps."""
        values, coord = self.bank.unroll(inputs.grad, inputs.step, state["coord"])
        return self._delta(phi, values, inputs.grad), {"coord": coord}

    def _delta(self, phi: Mapping[str, Tensor], values: Mapping[Operand, Tensor], like: Tensor) -> Tensor:
        if self.expression.is_canonical_linear:
            value = torch.einsum("i...,i->...", torch.stack(list(values.values())), phi["coefficients"])
        else:
            value = self.expression.evaluate(values, phi["coefficients"]).expand_as(like)
        return phi["gain"] * (value if self.clamp is None else value.clamp(-self.clamp, self.clamp))

    def to_json(self) -> dict[str, object]:
        """A rule file's content; ``formula`` repeats ``expression`` for readers."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "name": self.name,
            "formula": self.formula,
            "expression": self.expression.to_json(),
            "clamp": self.clamp,
            "gain": self.gain,
            "buffers": self.buffers,
            "card": dict(self.card),
        }

    @classmethod
    def from_json(cls, data: object) -> SymbolicRule:
        """Inverse of :meth:`to_json`; also takes JSON text. A hand-written file may give ``formula`` alone.

        Raises:
            UserError: If a key is unknown, the schema version is another, a value is not allowed, or the formula's text
                does not say what its tree does.
        """
        data = read_json(data) if isinstance(data, str) else data
        if not isinstance(data, Mapping):
            raise UserError("a rule file holds one JSON object", value=plain(data), mend="write it with to_json")
        if unknown := {str(key) for key in data} - _KEYS:
            raise UserError("unknown key in a rule file", value=min(unknown), mend=f"known: {', '.join(sorted(_KEYS))}")
        for key, wanted in (("schema_version", SCHEMA_VERSION), ("kind", cls.kind)):
            if data.get(key) != wanted:
                raise UserError(f"{key} of a symbolic rule", value=plain(data.get(key)), mend=f"expected {wanted!r}")
        card = data.get("card", {})
        if not isinstance(card, Mapping):
            raise UserError("a model card is a JSON object", value=plain(card), mend="give {} for none")
        clamp, gain, name = data.get("clamp"), data.get("gain", 1.0), data.get("name", "symbolic")
        return cls(_read_expression(data), clamp, gain, name, dict(card))


def _read_expression(data: Mapping[str, Any]) -> Expression:
    text = parse_expression(data["formula"]) if "formula" in data else None
    tree = Expression.from_json(data["expression"]) if "expression" in data else None
    expression = tree or text
    if expression is None:
        raise UserError(
            "a rule file without a formula", value=sorted(map(str, data)), mend="give 'expression' or 'formula'"
        )
    if text is not None and tree is not None and text != tree:
        raise UserError("formula and expression differ", value=str(text), mend="keep one of the two keys")
    return expression


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
