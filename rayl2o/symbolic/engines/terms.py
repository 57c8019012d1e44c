"""Small terms over a table's columns: the first ones, random ones, and how one becomes another. Trees are never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var, children, fold, walk
from rayl2o.rules.operands import column_operand

UNARY = ("square", "abs", "ssqrt", "exp", "tanh", "asinh", "sinh", "relu", "erfc", "sign")
"""Paper S's set, with sign and abs."""
TIME = "t"
"""The column whose product with every other is among the first terms: learned rules change over time."""


@dataclass(frozen=True)
class Grammar:
    """What terms are made of.

    Attributes:
        names: The columns.
        unary: Operators of arity 1 in use.
        max_nodes: Nodes of the largest term.
    """

    names: tuple[str, ...]
    unary: tuple[str, ...] = UNARY
    max_nodes: int = 9

    @property
    def leaves(self) -> list[Node]:
        """The columns themselves, in order."""
        return [Var(column_operand(name)) for name in self.names]

    def first(self) -> list[Node]:
        """Every operator of every column, and the products with :data:`TIME` where there is such a column."""
        terms: list[Node] = [Unary(op, leaf) for leaf in self.leaves for op in self.unary]
        if TIME in self.names:
            time = Var(column_operand(TIME))
            terms = [Binary("*", time, leaf) for leaf in self.leaves] + terms
        return terms

    def draw(self, draws: np.random.Generator, budget: int) -> Node:
        """A random term of at most ``budget`` nodes."""
        leaf = self._leaf(draws)
        if budget < 2 or draws.random() < 0.15:
            return leaf
        if budget < 3 or not self.unary or draws.random() < 0.45:
            return self._wrapped(draws, self.draw(draws, budget - 1)) if self.unary else leaf
        left = self.draw(draws, (budget - 1) // 2)
        return _joined(draws, left, self.draw(draws, (budget - 1) // 2), budget)

    def vary(self, draws: np.random.Generator, term: Node, others: Sequence[Node]) -> Node:
        """A neighbour of ``term``: a leaf, an operator or a constant changed, wrapped, shrunk, or joined with one of ``others``.

        Returns ``term`` itself where the neighbour would be too large.
        """
        kind = int(draws.integers(8))
        if kind == 0:
            changed = self._wrapped(draws, term)
        elif kind == 1:
            changed = _joined(draws, term, others[int(draws.integers(len(others)))], self.max_nodes)
        elif kind == 2:
            changed = _joined(draws, term, self.draw(draws, 3), self.max_nodes)
        elif kind == 3:
            nodes = [node for node, _ in walk(term)]
            changed = nodes[int(draws.integers(len(nodes)))]
        else:
            changed = self._at_random(draws, term, kind)
        return changed if size(changed) <= self.max_nodes and _reads(changed) else term

    def _at_random(self, draws: np.random.Generator, term: Node, kind: int) -> Node:
        """``term`` with one random node changed."""
        count = size(term)
        place, seen = int(draws.integers(count)), count

        def combine(node: Node, arguments: tuple[Node, ...]) -> Node:
            nonlocal seen
            seen -= 1  # folds meet nodes in reverse pre-order
            same = with_arguments(node, arguments)
            return self._changed(draws, same, kind) if seen == place else same

        return fold(term, combine)

    def _changed(self, draws: np.random.Generator, node: Node, kind: int) -> Node:
        if isinstance(node, Const):
            return Const(float(np.clip(node.value * np.exp(draws.normal(0, 0.5)), -1e3, 1e3)))
        if isinstance(node, Var):
            return self._leaf(draws) if kind < 6 else Binary("*", Const(float(np.exp(draws.normal(0, 0.7)))), node)
        if isinstance(node, Unary) and node.op in self.unary:
            return self._wrapped(draws, node.x)
        return self._wrapped(draws, node) if self.unary else node

    def _leaf(self, draws: np.random.Generator) -> Node:
        return Var(column_operand(self.names[int(draws.integers(len(self.names)))]))

    def _wrapped(self, draws: np.random.Generator, term: Node) -> Node:
        if not self.unary or draws.random() < 0.12:
            return Binary("spow", term, Const(float(draws.choice((0.25, 0.75, 1.5, 2.0, 3.0)))))
        return Unary(self.unary[int(draws.integers(len(self.unary)))], term)


def _joined(draws: np.random.Generator, a: Node, b: Node, budget: int) -> Node:
    """A product, a sum, a difference, or a quotient whose denominator is kept off 0: bare ones explode on other rows."""
    op = ("*", "*", "*", "+", "-", "/")[int(draws.integers(6))]
    if op != "/":
        return Binary(op, a, b)
    if size(a) + size(b) + 4 > budget:
        return Binary("*", a, b)
    return Binary("/", a, Binary("+", Const(float(np.exp(draws.normal(-1, 1)))), Unary("abs", b)))


def size(term: Node) -> int:
    """Nodes."""
    return sum(1 for _ in walk(term))


def with_arguments(node: Node, arguments: tuple[Node, ...]) -> Node:
    """The node with other arguments."""
    if arguments == children(node):
        return node
    return Unary(node.op, *arguments) if isinstance(node, Unary) else Binary(node.op, *arguments)  # type: ignore[union-attr]


def constants_of(term: Node) -> list[float]:
    """Its constants in pre-order."""
    return [node.value for node, _ in walk(term) if isinstance(node, Const)]


def _reads(term: Node) -> bool:
    return any(isinstance(node, Var) for node, _ in walk(term))
