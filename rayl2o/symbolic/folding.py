"""From an engine's units to the user's: what a column stands for is put in its place, and the whole is scaled."""

from __future__ import annotations

from collections.abc import Mapping

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var, fold
from rayl2o.rules.operands import Operand


def folded(formula: Expression, leaves: Mapping[Operand, Node], factor: float) -> Expression:
    """``factor * formula`` with every column replaced, simplified.

    Exact in real numbers (``exp``, ``tanh`` and powers are not scale-equivariant: the scale stays inside them); simplified
    forms may round and saturate otherwise, so that the result must be scored again.

    Args:
        formula: Over columns.
        leaves: What stands for each column.
        factor: On the whole.

    Raises:
        UserError: If the formula reads a column that is not there, or a constant or the size leaves what formulas allow.
    """

    def combine(node: Node, arguments: tuple[Node, ...]) -> Node:
        if isinstance(node, Var):
            if node.operand not in leaves:
                raise UserError(
                    "a formula reads a column that the table lacks", value=str(node.operand), mend="drop it"
                )
            return leaves[node.operand]
        if isinstance(node, Unary):
            return Unary(node.op, *arguments)
        return Binary(node.op, *arguments) if isinstance(node, Binary) else node

    root = fold(formula.root, combine)
    return Expression(root if factor == 1.0 else Binary("*", Const(factor), root)).simplify()


def scaled(operand: Operand, scale: float) -> Node:
    """``operand / scale`` as a leaf: an engine's column in units of one standard deviation."""
    return Var(operand) if scale == 1.0 else Binary("*", Const(1.0 / scale), Var(operand))
