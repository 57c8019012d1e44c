"""Algebra on formula trees: every node as a weighted sum of terms, like terms merged, constants folded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from rayl2o.errors import UserError
from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var, apply, check, fold, walk
from rayl2o.rules.operands import Operand
from rayl2o.rules.operators import OPERATORS, SATURATION

_HOMOGENEOUS = ("square", "abs", "sign", "relu", "ssqrt")
_BLOCK = 50  # terms in one chain of additions, far below the limit of depth


@dataclass(frozen=True)
class _Sum:
    """offset + sum of weight x term."""

    offset: float
    terms: Mapping[Node, float]

    def scaled(self, factor: float) -> _Sum:
        return _Sum(self.offset * factor, {term: weight * factor for term, weight in self.terms.items()})

    def plus(self, other: _Sum) -> _Sum:
        terms = dict(self.terms)
        for term, weight in other.terms.items():
            terms[term] = terms.get(term, 0.0) + weight
        return _Sum(self.offset + other.offset, {term: weight for term, weight in terms.items() if weight != 0.0})

    def factored(self) -> tuple[float, Node]:
        """The sum as weight x node; the weight is 1 unless all weights are of one size."""
        weights = list(self.terms.values())
        if self.offset == 0.0 and len({abs(weight) for weight in weights}) == 1:
            factor = weights[0]
            return factor, _Sum(0.0, {term: weight / factor for term, weight in self.terms.items()}).node()
        return 1.0, self.node()

    def node(self) -> Node:
        """A tree of as few nodes as possible."""
        nodes = [_weighted(term, weight) for term, weight in self.terms.items()]
        if self.offset != 0.0 or not nodes:
            nodes.append(Const(self.offset))
        return chain(nodes)


def _weighted(term: Node, weight: float) -> Node:
    """``weight x term``; the weight goes into a sum that is a factor of the term where that takes fewer nodes."""
    if weight == 1.0:
        return term
    best: Node = Unary("neg", term) if weight == -1.0 else Binary("*", Const(weight), term)
    if isinstance(term, Binary) and term.op in ("*", "/"):
        options = [Binary(term.op, _as_sum(term.a).scaled(weight).node(), term.b)]
        if term.op == "*":
            options.append(Binary("*", term.a, _as_sum(term.b).scaled(weight).node()))
        best = min((best, *options), key=_size)
    return best


def _size(root: Node) -> int:
    return sum(1 for _ in walk(root))


def chain(nodes: Sequence[Node]) -> Node:
    """The sum of the nodes, left to right; long sums in blocks, so that depth stays within its limit."""
    blocks = [_join(nodes[i : i + _BLOCK]) for i in range(0, len(nodes), _BLOCK)]
    return _join(blocks)


def _join(nodes: Sequence[Node]) -> Node:
    total = nodes[0]
    for node in nodes[1:]:
        negative = isinstance(node, Unary) and node.op == "neg"
        total = Binary("-", total, node.x) if negative and isinstance(node, Unary) else Binary("+", total, node)
    return total


def _as_sum(root: Node) -> _Sum:
    return fold(root, _combine)


def _combine(node: Node, parts: tuple[_Sum, ...]) -> _Sum:
    if isinstance(node, Const):
        return _Sum(node.value, {})
    if isinstance(node, Var):
        return _Sum(0.0, {node: 1.0})
    if not any(part.terms for part in parts):
        return _Sum(_value(node.op, [part.offset for part in parts]), {})
    if node.op == "neg":
        return parts[0].scaled(-1.0)
    if node.op in ("+", "-"):
        return parts[0].plus(parts[1].scaled(1.0 if node.op == "+" else -1.0))
    if node.op == "*":
        return _product(*parts)
    if node.op == "/":
        return _quotient(*parts)
    if node.op in _HOMOGENEOUS or (node.op == "spow" and not parts[1].terms and parts[1].offset > 0):
        return _homogeneous(node.op, parts)
    return _Sum(0.0, {apply(node.op, tuple(part.node() for part in parts)): 1.0})


def _homogeneous(op: str, parts: tuple[_Sum, ...]) -> _Sum:
    """``f(w x) = f(w) f(x)``: the factor comes out, the sign too where the function is even or odd."""
    weight, inner = parts[0].factored()
    odd = op in ("sign", "ssqrt", "spow")
    factor = _value(op, [abs(weight), *(part.offset for part in parts[1:])]) * (
        math.copysign(1.0, weight) if odd else 1.0
    )
    if not 1 / SATURATION < abs(factor) < SATURATION or (op == "relu" and weight < 0):
        return _Sum(0.0, {apply(op, tuple(part.node() for part in parts)): 1.0})
    return _Sum(0.0, {apply(op, (inner, *(part.node() for part in parts[1:]))): factor})


def _product(a: _Sum, b: _Sum) -> _Sum:
    for factor, other in ((a, b), (b, a)):
        if not factor.terms:
            return other.scaled(factor.offset).plus(_Sum(0.0, {}))
    (weight_a, node_a), (weight_b, node_b) = a.factored(), b.factored()
    return _Sum(0.0, {Binary("*", node_a, node_b): weight_a * weight_b})


def _quotient(a: _Sum, b: _Sum) -> _Sum:
    if not b.terms:
        return a.scaled(_value("/", [1.0, b.offset]))
    weight, node = a.factored()
    return _Sum(0.0, {Binary("/", node, b.node()): weight})


def _value(op: str, arguments: Sequence[float]) -> float:
    return float(OPERATORS[op].function(*(torch.tensor(x, dtype=torch.float64) for x in arguments)))


def linear_terms(root: Node) -> dict[Operand, float] | None:
    """Coefficient of each operand, merged, zeros left out; None if the tree is not a linear sum without offset."""
    total = _as_sum(root)
    terms = {term.operand: weight for term, weight in total.terms.items() if isinstance(term, Var)}
    return terms if total.offset == 0.0 and len(terms) == len(total.terms) else None


def simplify(root: Node) -> Node:
    """An equal tree of at most as many nodes, up to rounding and below saturation: constants folded, like terms merged."""
    simple = _as_sum(root).node()
    try:
        check(simple)
    except UserError:  # folding left the limits of a formula
        return root
    return simple if _size(simple) <= _size(root) else root
