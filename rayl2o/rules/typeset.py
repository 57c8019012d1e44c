"""Formulas as text: exact (the parser reads it back), pretty (short, for people) and LaTeX (also what mathtext can draw)."""

from __future__ import annotations

from collections.abc import Callable

from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var, fold
from rayl2o.rules.operands import Lag, Operand, Signal, Variable
from rayl2o.rules.operators import OPERATORS

_SUM, _PRODUCT, _SIGN, _ATOM = 1, 2, 3, 4  # how tightly the outermost operator binds
_BINDING = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "neg": _SIGN}
_LATEX_SIGNALS = {"g": "g", "q": "q", "g_tilde": r"\tilde{g}", "m_tilde": r"\tilde{m}", "t": "t"}
_PRETTY_SIGNALS = {"g": "g", "q": "q", "g_tilde": "g̃", "m_tilde": "m̃", "t": "t"}

_Part = tuple[str, int]


def exact(root: Node) -> str:
    """Formula text that parses back to the same tree: ``-0.5*ema(g_tilde, 0.9) + tanh(lag(g, 2))``."""

    def combine(node: Node, parts: tuple[_Part, ...]) -> _Part:
        if isinstance(node, Const):
            return repr(node.value), _SIGN if repr(node.value).startswith("-") else _ATOM
        if isinstance(node, Var):
            return str(node.operand), _ATOM
        if isinstance(node, Binary) and node.op in _BINDING:
            return _infix(node.op, parts, f" {node.op} " if node.op in "+-" else node.op, _bracket)
        number = isinstance(node, Unary) and isinstance(node.x, Const)  # the parser reads a minus before it as its sign
        if node.op == "neg" and not number:
            return f"-{_guard(parts[0], _SIGN, _bracket)}", _SIGN
        return f"{node.op}({', '.join(text for text, _ in parts)})", _ATOM

    return fold(root, combine)[0]


def pretty(root: Node, digits: int = 3) -> str:
    """One short line of Unicode for people, constants to ``digits`` significant digits: ``-0.5 ema₀.₉(g̃) + tanh(g[t-2])``."""

    def combine(node: Node, parts: tuple[_Part, ...]) -> _Part:
        if isinstance(node, Const):
            return _number(f"{node.value:.{digits}g}".replace("e+", "e"))
        if isinstance(node, Var):
            return _pretty_operand(node.operand), _ATOM
        if isinstance(node, Binary) and node.op in _BINDING:
            return _infix(node.op, parts, {"*": " ", "/": " / "}.get(node.op, f" {node.op} "), _bracket)
        if node.op == "neg":
            return f"-{_guard(parts[0], _ATOM, _bracket)}", _SIGN
        return f"{node.op}({', '.join(text for text, _ in parts)})", _ATOM

    return _merge_signs(fold(root, combine)[0])


def latex(root: Node, digits: int = 3) -> str:
    """LaTeX math without dollar signs, constants to ``digits`` significant digits; within what matplotlib's mathtext draws."""

    def combine(node: Node, parts: tuple[_Part, ...]) -> _Part:
        if isinstance(node, Const):
            return _number(_latex_number(node.value, digits))
        if isinstance(node, Var):
            return _latex_operand(node.operand), _ATOM
        if node.op == "/":
            return OPERATORS["/"].latex.format(*(text for text, _ in parts)), _ATOM
        if isinstance(node, Binary) and node.op in _BINDING:
            return _infix(node.op, parts, r" \, " if node.op == "*" else f" {node.op} ", _latex_bracket)
        if node.op == "neg":
            return f"-{_guard(parts[0], _ATOM, _latex_bracket)}", _SIGN
        return OPERATORS[node.op].latex.format(*(text for text, _ in parts)), _ATOM

    return _merge_signs(fold(root, combine)[0])


def _infix(op: str, parts: tuple[_Part, ...], joint: str, bracket: Callable[[str], str]) -> _Part:
    binding = _BINDING[op]
    # A sign directly behind a joint would be misread where the joint is a space, so products bracket it.
    right = _ATOM if op == "*" and "*" not in joint else binding + 1
    return f"{_guard(parts[0], binding, bracket)}{joint}{_guard(parts[1], right, bracket)}", binding


def _guard(part: _Part, binding: int, bracket: Callable[[str], str]) -> str:
    text, own = part
    return text if own >= binding else bracket(text)


def _bracket(text: str) -> str:
    return f"({text})"


def _latex_bracket(text: str) -> str:
    return rf"\left({text}\right)"


def _number(text: str) -> _Part:
    return text, _SIGN if text.startswith("-") else _ATOM


def _merge_signs(text: str) -> str:
    return text.replace("+ -", "- ").replace("- -", "+ ")


def _latex_number(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if not exponent:
        return mantissa
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def _latex_operand(operand: Operand) -> str:
    if isinstance(operand, Variable):
        name = operand.name.replace("_", r"\_")
        return rf"\mathrm{{{name}}}"
    symbol = _LATEX_SIGNALS[operand.signal]
    if operand.signal == "t":
        return symbol
    if isinstance(operand, Signal):
        return rf"{symbol}_{{t}}"
    if isinstance(operand, Lag):
        return rf"{symbol}_{{t-{operand.lag}}}"
    return rf"\mathrm{{ema}}_{{{operand.beta:g}}}\left({symbol}\right)"


def _pretty_operand(operand: Operand) -> str:
    if isinstance(operand, Variable):
        return operand.name
    symbol = _PRETTY_SIGNALS[operand.signal]
    if isinstance(operand, Signal):
        return symbol
    if isinstance(operand, Lag):
        return f"{symbol}[t-{operand.lag}]"
    subscript = f"{operand.beta:g}".translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return f"ema{subscript}({symbol})"
