"""The nodes of a formula tree, their limits, and their JSON form. Walks are iterative: no input can exhaust the stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.operands import Ema, Lag, Operand, Signal, Variable, plain
from rayl2o.rules.operators import OPERATORS, SATURATION

MAX_NODES = 1000
MAX_DEPTH = 100


@dataclass(frozen=True)
class Const:
    """A number."""

    value: float


@dataclass(frozen=True)
class Var:
    """The value of an operand."""

    operand: Operand


@dataclass(frozen=True)
class Unary:
    """An operator of arity 1 by name."""

    op: str
    x: Node


@dataclass(frozen=True)
class Binary:
    """An operator of arity 2 by name."""

    op: str
    a: Node
    b: Node


Node = Const | Var | Unary | Binary
T = TypeVar("T")


def children(node: Node) -> tuple[Node, ...]:
    """The arguments of a node, left to right."""
    if isinstance(node, Binary):
        return (node.a, node.b)
    return (node.x,) if isinstance(node, Unary) else ()


def walk(root: Node) -> Iterator[tuple[Node, int]]:
    """Every node with its depth (1 at the root), in pre-order."""
    pending = [(root, 1)]
    while pending:
        node, depth = pending.pop()
        yield node, depth
        pending.extend((child, depth + 1) for child in reversed(children(node)))


def fold(root: Node, combine: Callable[[Node, tuple[T, ...]], T]) -> T:
    """``combine(node, results of its arguments)`` from the leaves up; nodes are met in reverse pre-order."""
    done: list[T] = []
    for node, _ in reversed(list(walk(root))):  # arguments come before their operator, the leftmost on top
        done.append(combine(node, tuple(done.pop() for _ in children(node))))
    return done[0]


def rebuild(root: Node, constants: Sequence[float]) -> Node:
    """The same tree with other constants, in pre-order."""
    remaining = list(constants)

    def combine(node: Node, arguments: tuple[Node, ...]) -> Node:
        if isinstance(node, Const):
            return Const(remaining.pop())
        return apply(node.op, arguments) if isinstance(node, Unary | Binary) else node

    return fold(root, combine)


def check(root: Node) -> None:
    """Refuses a tree that is too large, too deep, or has a constant or an operator that is not allowed.

    Raises:
        UserError: Naming the first fault in pre-order.
    """
    for count, (node, depth) in enumerate(walk(root), start=1):
        check_size(count, depth)
        if isinstance(node, Const):
            check_constant(node.value)
        elif isinstance(node, Unary | Binary):
            check_operator(node.op, len(children(node)))
        elif not isinstance(node, Var) or not isinstance(node.operand, Operand):
            raise UserError("not a node of a formula", value=plain(node), mend="use Const, Var, Unary or Binary")


def check_size(count: int, depth: int) -> None:
    """Refuses more than :data:`MAX_NODES` nodes or :data:`MAX_DEPTH` levels."""
    if count > MAX_NODES:
        raise UserError(
            "the formula is too long", value=f"over {MAX_NODES} nodes", mend=f"use at most {MAX_NODES} nodes"
        )
    if depth > MAX_DEPTH:
        raise UserError("the formula is nested too deeply", value=f"over {MAX_DEPTH} levels", mend="flatten it")


def check_constant(value: object) -> float:
    """The constant as a float.

    Raises:
        UserError: If it is not a number, not finite, or beyond the saturation of the operators.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError("a constant is a number", value=plain(value), mend="give a decimal number")
    if not abs(value) <= SATURATION:  # also NaN
        raise UserError(
            "bad constant", value=plain(value), mend=f"give a finite number of at most {SATURATION:g} in size"
        )
    return float(value)


def check_operator(name: object, arguments: int) -> None:
    """Refuses an unknown operator or a wrong number of arguments."""
    if not isinstance(name, str):
        raise UserError("an operator is named by text", value=plain(name), mend=f"use one of {', '.join(OPERATORS)}")
    if name not in OPERATORS:
        raise unknown_name("operator", name, OPERATORS)
    arity = OPERATORS[name].arity
    if arguments != arity:
        raise UserError(
            f"operator {name!r} takes {arity} argument{'s' if arity > 1 else ''}",
            value=arguments,
            mend=f"give exactly {arity}",
        )


def apply(op: str, arguments: tuple[Node, ...]) -> Node:
    """The node of an operator, checked.

    Raises:
        UserError: If the operator is unknown or the number of arguments is wrong.
    """
    check_operator(op, len(arguments))
    return Unary(op, arguments[0]) if len(arguments) == 1 else Binary(op, arguments[0], arguments[1])


def operand_to_json(operand: Operand) -> dict[str, object]:
    """``{"signal": name}``, with ``"lag"`` or ``"ema"`` beside it; ``{"variable": name}`` for a column."""
    if isinstance(operand, Variable):
        return {"variable": operand.name}
    if isinstance(operand, Lag):
        return {"signal": operand.signal, "lag": operand.lag}
    if isinstance(operand, Ema):
        return {"signal": operand.signal, "ema": operand.beta}
    return {"signal": operand.name}


def operand_from_json(data: Mapping[str, Any]) -> Operand:
    """Inverse of :func:`operand_to_json`.

    Raises:
        UserError: If it is not an operand.
    """
    if set(data) == {"signal"}:
        return Signal(data["signal"])
    if set(data) == {"variable"}:
        return Variable(data["variable"])
    if set(data) == {"signal", "lag"}:
        return Lag(data["signal"], data["lag"])
    if set(data) == {"signal", "ema"}:
        return Ema(data["signal"], data["ema"])
    raise _not_a_node(data)


def node_to_json(root: Node) -> dict[str, object]:
    """``{"const": c}``, an operand, or ``{"op": name, "args": [...]}``."""

    def combine(node: Node, arguments: tuple[dict[str, object], ...]) -> dict[str, object]:
        if isinstance(node, Const):
            return {"const": node.value}
        if isinstance(node, Var):
            return operand_to_json(node.operand)
        return {"op": node.op, "args": list(arguments)}

    return fold(root, combine)


def node_from_json(data: object) -> Node:
    """Inverse of :func:`node_to_json`; whatever it is given, it returns a tree within the limits or raises one clear error.

    Raises:
        UserError: If anything in it is not allowed.
    """
    order: list[tuple[Mapping[str, Any], int]] = []
    pending: list[tuple[object, int]] = [(data, 1)]
    while pending:
        item, depth = pending.pop()
        check_size(len(order) + 1, depth)
        if not isinstance(item, Mapping):
            raise _not_a_node(item)
        arguments = _arguments(item)
        order.append((item, len(arguments)))
        pending.extend((child, depth + 1) for child in reversed(arguments))
    done: list[Node] = []
    for item, count in reversed(order):
        if "op" in item:
            done.append(apply(item["op"], tuple(done.pop() for _ in range(count))))
        elif set(item) == {"const"}:
            done.append(Const(check_constant(item["const"])))
        else:
            done.append(Var(operand_from_json(item)))
    return done[0]


def _arguments(item: Mapping[str, Any]) -> list[object]:
    if "op" not in item:
        return []
    if set(item) != {"op", "args"} or not isinstance(item["args"], list):
        raise _not_a_node(item)
    check_operator(item["op"], len(item["args"]))
    return list(item["args"])


def _not_a_node(value: object) -> UserError:
    return UserError(
        "not a node of a formula",
        value=f"an object with the keys {sorted(map(str, value))}" if isinstance(value, Mapping) else plain(value),
        mend='write {"const": c}, {"signal": s}, {"signal": s, "lag": k}, {"signal": s, "ema": beta} or {"op": o, "args": [...]}',
    )
