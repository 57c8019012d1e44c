"""A formula: an immutable tree over operands, evaluated by torch. Its file format is JSON; text is read by ``rules/parse.py``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules import simplify, typeset
from rayl2o.rules.nodes import Binary, Const, Node, Var, check, children, node_from_json, node_to_json, rebuild, walk
from rayl2o.rules.operands import Operand
from rayl2o.rules.operators import OPERATORS, saturate


@dataclass(frozen=True)
class _Step:
    """One instruction of a stack machine: push a constant, push an operand, or apply a function to the top."""

    arity: int
    constant: int = -1
    operand: Operand | None = None
    function: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Expression:
    """A formula within the limits of ``rules/nodes.py``.

    ``str`` gives exact text, which ``parse_expression`` reads back to an equal formula.

    Raises:
        UserError: If the tree is too large or too deep, or has an operator or a constant that is not allowed.
    """

    root: Node

    def __post_init__(self) -> None:
        check(self.root)

    @cached_property
    def operands(self) -> tuple[Operand, ...]:
        """What it reads, each once, in order of first appearance."""
        return tuple(dict.fromkeys(node.operand for node, _ in walk(self.root) if isinstance(node, Var)))

    @cached_property
    def constants(self) -> tuple[float, ...]:
        """Every constant in pre-order, repetitions included."""
        return tuple(node.value for node, _ in walk(self.root) if isinstance(node, Const))

    @cached_property
    def complexity(self) -> int:
        """Number of nodes, PySR's default count: a constant 1, an operator 1, an operand 1.

        A lag or an ema counts 1 although it holds state: compare counts only within one set of operands.
        """
        return sum(1 for _ in walk(self.root))

    @cached_property
    def depth(self) -> int:
        """Levels; a single leaf has 1."""
        return max(depth for _, depth in walk(self.root))

    @cached_property
    def is_canonical_linear(self) -> bool:
        """Whether it is exactly what :meth:`linear` builds, so that constant i is the coefficient of operand i."""
        pairs = dict(zip(self.operands, self.constants, strict=False))
        return len(pairs) == len(self.operands) == len(self.constants) > 0 and Expression.linear(pairs) == self

    @cached_property
    def _program(self) -> tuple[_Step, ...]:
        steps: list[_Step] = []
        index = len(self.constants)
        for node, _ in reversed(list(walk(self.root))):
            if isinstance(node, Const):
                index -= 1
                steps.append(_Step(0, constant=index))
            elif isinstance(node, Var):
                steps.append(_Step(0, operand=node.operand))
            else:
                steps.append(_Step(len(children(node)), function=OPERATORS[node.op].function))
        return tuple(steps)

    def evaluate(self, values: Mapping[Operand, Tensor], constants: Tensor | None = None) -> Tensor:
        """The formula at ``values``, tensors ``[...]`` of one shape by operand, in their dtype.

        Args:
            values: Covers :attr:`operands` (columns of a table too); saturated as the operators' results are.
            constants: ``[n]`` in the order of :attr:`constants` instead of the formula's own.

        Returns:
            ``[...]`` (0-dim if the formula reads no operand). Differentiable in values and constants.
        """
        read = {operand: saturate(values[operand]) for operand in self.operands}
        if constants is None:
            like = next(iter(values.values()), torch.zeros(()))
            constants = torch.tensor(self.constants, dtype=like.dtype, device=like.device)
        numbers = constants.unbind() if self.constants else ()
        stack: list[Tensor] = []
        for step in self._program:
            if step.operand is not None:
                stack.append(read[step.operand])
            elif step.function is None:
                stack.append(numbers[step.constant])
            else:
                stack.append(step.function(*(stack.pop() for _ in range(step.arity))))
        return stack[0]

    def with_constants(self, values: Sequence[float]) -> Expression:
        """The same formula with other constants, in the order of :attr:`constants`.

        Raises:
            ValueError: If the number of values differs.
            UserError: If a value is not allowed.
        """
        if len(values) != len(self.constants):
            raise ValueError(f"the formula has {len(self.constants)} constants, got {len(values)}")
        return Expression(rebuild(self.root, [float(value) for value in values]))

    def rounded(self, digits: int) -> Expression:
        """The same formula with its constants rounded to ``digits`` significant decimal digits; score it again."""
        return self.with_constants([float(f"{value:.{digits}g}") for value in self.constants])

    def simplify(self) -> Expression:
        """An equal formula (up to rounding, below saturation) of at most the same complexity: like terms merged."""
        return Expression(simplify.simplify(self.root))

    @classmethod
    def linear(cls, terms: Mapping[Operand, float]) -> Expression:
        """The canonical sum ``c1*o1 + c2*o2 + ...`` in the order given; ``0.0`` without terms."""
        nodes = [Binary("*", Const(float(weight)), Var(operand)) for operand, weight in terms.items()]
        return cls(simplify.chain(nodes) if nodes else Const(0.0))

    def linear_terms(self) -> dict[Operand, float] | None:
        """Merged coefficient of each operand (zeros left out), or None if it is not a linear sum without offset."""
        return simplify.linear_terms(self.root)

    def to_json(self) -> dict[str, object]:
        """A tree of plain JSON-able data; :meth:`from_json` reads it back."""
        return node_to_json(self.root)

    @classmethod
    def from_json(cls, data: object) -> Expression:
        """Inverse of :meth:`to_json`; also takes JSON text.

        Raises:
            UserError: On anything that is not a formula within the limits.
        """
        return cls(node_from_json(read_json(data) if isinstance(data, str) else data))

    def latex(self, digits: int = 3) -> str:
        """LaTeX math without dollar signs, constants to ``digits`` significant digits."""
        return typeset.latex(self.root, digits)

    def pretty(self, digits: int = 3) -> str:
        """One short line for people, constants to ``digits`` significant digits."""
        return typeset.pretty(self.root, digits)

    def __str__(self) -> str:
        return typeset.exact(self.root)


def read_json(text: str) -> object:
    """JSON text as plain data.

    Raises:
        UserError: If it is not JSON, or nested too deeply to be read.
    """
    try:
        data: object = json.loads(text)
    except RecursionError:
        raise UserError("JSON nested too deeply", value=text, mend="flatten it") from None
    except ValueError as error:
        raise UserError(f"not JSON ({error})", value=text, mend="give JSON text") from None
    return data
