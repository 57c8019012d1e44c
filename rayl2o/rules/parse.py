"""Formula text to :class:`Expression` through ``ast`` and a white list. Nothing is evaluated."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Const, Node, Var, apply, check_constant, check_size
from rayl2o.rules.operands import SIGNALS, Ema, Lag, Operand, Signal, column_operand
from rayl2o.rules.operators import OPERATORS

MAX_LENGTH = 40_000
_CALLS = tuple(name for name in OPERATORS if name.isidentifier())
_INFIX: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_MEND = "use numbers, signals, lag(s, k), ema(s, beta), + - * / and the operators by name"


def parse_expression(text: str, columns: Collection[str] = ()) -> Expression:
    """Reads a formula such as ``-0.5*ema(g_tilde, 0.9) + tanh(lag(g, 2))``.

    Args:
        text: The formula.
        columns: Names that stand for columns of a table; without them every name must be a signal.

    Raises:
        UserError: If the text is anything but a formula: the first thing wrong, its value, and the mend.
    """
    if not isinstance(text, str):
        raise UserError("a formula is text", value=type(text).__name__, mend=_MEND)
    if len(text) > MAX_LENGTH:
        raise UserError("the formula is too long", value=text, mend=f"use at most {MAX_LENGTH} characters")
    return Expression(_convert(_tree(text), text, columns))


def _tree(text: str) -> ast.expr:
    # The parser itself would accept these (a line continuation, a comment, a big literal) or spend long on them.
    if strange := re.search(r"[^A-Za-z0-9_+\-*/()., \t\n]", text):
        raise UserError("a character that no formula has", value=strange.group(), mend=_MEND)
    if number := re.search(r"\d{400,}", text):
        raise UserError("a number with too many digits", value=number.group(), mend="write it with an exponent")
    try:
        return ast.parse(text.strip().replace("\n", " "), mode="eval").body
    except (RecursionError, MemoryError):  # how CPython's parser reports nesting, by version
        raise UserError("the formula is nested too deeply", value=text, mend="flatten it") from None
    except (SyntaxError, ValueError) as error:
        if "nested" in str(error):
            raise UserError("the formula is nested too deeply", value=text, mend="flatten it") from None
        raise UserError("not a formula", value=text, mend=_MEND) from None


def _convert(tree: ast.expr, text: str, columns: Collection[str]) -> Node:
    """Two walks without recursion: down, checking each node; then up, building."""
    order: list[tuple[ast.expr, int]] = []
    pending = [(tree, 1)]
    while pending:
        item, depth = pending.pop()
        check_size(len(order) + 1, depth)
        arguments = _arguments(item, text)
        order.append((item, len(arguments)))
        pending.extend((argument, depth + 1) for argument in reversed(arguments))
    done: list[Node] = []
    for item, count in reversed(order):
        done.append(_build(item, tuple(done.pop() for _ in range(count)), text, columns))
    return done[0]


def _arguments(item: ast.expr, text: str) -> list[ast.expr]:
    if isinstance(item, ast.BinOp):
        return [item.left, item.right]
    if isinstance(item, ast.UnaryOp):
        return [] if isinstance(item.operand, ast.Constant) else [item.operand]
    if not isinstance(item, ast.Call):
        return []
    if not isinstance(item.func, ast.Name) or item.keywords or any(isinstance(a, ast.Starred) for a in item.args):
        raise _refused(item, text)
    return [] if item.func.id in ("lag", "ema") else list(item.args)


def _build(item: ast.expr, arguments: tuple[Node, ...], text: str, columns: Collection[str]) -> Node:
    if isinstance(item, ast.Constant):
        return Const(check_constant(item.value))
    if isinstance(item, ast.Name):
        if item.id in (*_CALLS, "lag", "ema"):
            raise UserError(f"{item.id!r} needs arguments", value=item.id, mend=f"write {item.id}(...)")
        return Var(column_operand(item.id) if item.id in columns else Signal(item.id))
    if isinstance(item, ast.BinOp) and type(item.op) in _INFIX:
        return apply(_INFIX[type(item.op)], arguments)
    if isinstance(item, ast.UnaryOp) and isinstance(item.op, ast.USub):
        if isinstance(item.operand, ast.Constant):
            return Const(-check_constant(item.operand.value))
        return apply("neg", arguments)
    if isinstance(item, ast.Call) and isinstance(item.func, ast.Name):
        name = item.func.id
        if name in ("lag", "ema"):
            return Var(_filtered(name, item, text))
        if name not in _CALLS:
            raise unknown_name("operator", name, (*_CALLS, "lag", "ema"))
        return apply(name, arguments)
    raise _refused(item, text)


def _filtered(name: str, call: ast.Call, text: str) -> Operand:
    if len(call.args) != 2:
        raise UserError(f"{name} takes a signal and a number", value=len(call.args), mend=f"write {name}(g, ...)")
    signal, number = call.args
    if not isinstance(signal, ast.Name):
        raise UserError(
            f"{name} applies to a signal only", value=_source(signal, text), mend=f"use one of {', '.join(SIGNALS)}"
        )
    if not isinstance(number, ast.Constant):
        raise UserError(
            f"{name} takes a plain number", value=_source(number, text), mend=f"write {name}(g, 2) or the like"
        )
    value = check_constant(number.value)
    if name == "ema":
        return Ema(signal.id, value)
    if not isinstance(number.value, int):
        raise UserError("bad lag", value=value, mend="give a whole number")
    return Lag(signal.id, number.value)


def _refused(item: ast.expr, text: str) -> UserError:
    return UserError("not allowed in a formula", value=_source(item, text), mend=_MEND)


def _source(item: ast.expr, text: str) -> str:
    return ast.get_source_segment(text.strip().replace("\n", " "), item) or text
