"""Operon's trees as our formulas. Nodes are walked; Operon's own parser and printer are never used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import MAX_NODES, Binary, Const, Node, Unary, check_constant, walk
from rayl2o.rules.operands import plain

Step = tuple[str, float, int]
"""One node: symbol, value (of a constant, or the weight of a column), column (-1 elsewhere)."""
CONSTANT, COLUMN = "constant", "variable"


def _same(op: str) -> Callable[..., Node]:
    return lambda *arguments: Unary(op, *arguments) if len(arguments) == 1 else Binary(op, *arguments)


def _larger(a: Node, b: Node) -> Node:
    kept, other = _by_size(a, b)
    return Binary("+", kept, Unary("relu", Binary("-", other, kept)))


def _smaller(a: Node, b: Node) -> Node:
    kept, other = _by_size(a, b)
    return Binary("-", kept, Unary("relu", Binary("-", kept, other)))


def _by_size(a: Node, b: Node) -> tuple[Node, Node]:
    """The smaller tree first: it is the one written twice."""
    return (a, b) if _size(a) <= _size(b) else (b, a)


def _size(node: Node) -> int:
    return sum(1 for _ in walk(node))


_ARITY: Mapping[str, int] = MappingProxyType(
    {"add": 2, "sub": 2, "mul": 2, "div": 2, "aq": 2, "powabs": 2, "max": 2, "min": 2}
    | dict.fromkeys(("abs", "exp", "sinh", "sqrtabs", "square", "tanh"), 1)
)
_BUILD: Mapping[str, Callable[..., Node]] = MappingProxyType(
    {
        "add": _same("+"),
        "sub": _same("-"),
        "mul": _same("*"),
        "div": _same("/"),
        "aq": lambda a, b: Binary("/", a, Unary("ssqrt", Binary("+", Const(1.0), Unary("square", b)))),
        "powabs": lambda a, b: Binary("spow", Unary("abs", a), b),
        "max": _larger,
        "min": _smaller,
        "abs": _same("abs"),
        "exp": _same("exp"),
        "sinh": _same("sinh"),
        "sqrtabs": lambda a: Unary("ssqrt", Unary("abs", a)),
        "square": _same("square"),
        "tanh": _same("tanh"),
    }
)
SYMBOLS = tuple(_ARITY)
"""Functions of Operon that have a total form in our operators; what it computes outside their common domain may differ."""


def expression_of(steps: Sequence[Step], leaves: Sequence[Node]) -> Expression:
    """The formula of a tree.

    Args:
        steps: The nodes in Operon's order: arguments before their function, the first argument nearest to it.
        leaves: The node of each column.

    Raises:
        UserError: If it is not one tree within the limits of a formula.
    """
    done: list[Node] = []
    for symbol, value, column in steps:
        if symbol == CONSTANT:
            done.append(Const(check_constant(value)))
        elif symbol == COLUMN and type(column) is int and 0 <= column < len(leaves):
            leaf, weight = leaves[column], check_constant(value)
            done.append(leaf if weight == 1.0 else Binary("*", Const(weight), leaf))
        elif symbol in _BUILD and len(done) >= _ARITY[symbol]:
            done.append(_BUILD[symbol](*(done.pop() for _ in range(_ARITY[symbol]))))
            if _size(done[-1]) > MAX_NODES:
                raise _refused(f"over {MAX_NODES} nodes")
        else:
            raise _refused(plain(symbol))
    if len(done) != 1:
        raise _refused(f"{len(done)} trees")
    return Expression(done[0])


def _refused(value: object) -> UserError:
    return UserError("not a tree of Operon that we can write", value=value, mend=f"use only {', '.join(SYMBOLS)}")


def without_offset(expression: Expression) -> Expression | None:
    """The formula without the constant that Operon adds at its top; None if there is none."""
    root = expression.root
    if isinstance(root, Binary) and root.op == "+" and isinstance(root.a, Const):
        return Expression(root.b)
    return None
