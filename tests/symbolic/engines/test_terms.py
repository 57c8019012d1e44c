"""Terms: what there is at first, and that no draw or change leaves the grammar."""

from __future__ import annotations

import numpy as np

from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var, walk
from rayl2o.rules.operands import Signal, Variable
from rayl2o.symbolic.engines.terms import UNARY, Grammar, constants_of, size

GRAMMAR = Grammar(("x0", "x1", "t"), max_nodes=9)
X0, T = Var(Variable("x0")), Var(Signal("t"))


def _evolved(grammar: Grammar, seed: int, count: int = 400) -> list[Node]:
    draws = np.random.default_rng(seed)
    terms = [grammar.draw(draws, grammar.max_nodes) for _ in range(20)]
    for _ in range(count):
        terms.append(grammar.vary(draws, terms[int(draws.integers(len(terms)))], terms))
    return terms


def test_first_terms() -> None:
    first = GRAMMAR.first()
    assert Binary("*", T, X0) in first
    assert {Unary(op, X0) for op in UNARY} <= set(first)
    assert not any(isinstance(term, Binary) for term in Grammar(("x0", "x1")).first())


def test_stay_within_the_grammar() -> None:
    terms = _evolved(GRAMMAR, 0)
    assert max(map(size, terms)) == GRAMMAR.max_nodes
    operators = {node.op for term in terms for node, _ in walk(term) if isinstance(node, Unary | Binary)}
    assert operators >= {"*", "+", "-", "/", "spow", *UNARY}
    few = _evolved(Grammar(("x0",), unary=("tanh",)), 0)
    assert {node.op for term in few for node, _ in walk(term) if isinstance(node, Unary)} <= {"tanh", "abs"}


def test_repeatable() -> None:
    assert _evolved(GRAMMAR, 3) == _evolved(GRAMMAR, 3)
    assert _evolved(GRAMMAR, 3) != _evolved(GRAMMAR, 4)


def test_every_term_reads_a_column() -> None:
    assert all(any(isinstance(node, Var) for node, _ in walk(term)) for term in _evolved(GRAMMAR, 5))


def test_without_operators_of_arity_1() -> None:
    terms = _evolved(Grammar(("x0", "x1"), unary=()), 1)
    assert not any(isinstance(node, Unary) and node.op != "abs" for term in terms for node, _ in walk(term))


def test_constants_in_pre_order() -> None:
    assert constants_of(Binary("+", Const(1.0), Binary("*", Const(2.0), X0))) == [1.0, 2.0]
