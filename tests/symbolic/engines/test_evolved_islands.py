"""One island: repeatable, keeps what the target is made of, ends at its ceiling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rayl2o.rules.nodes import Binary, Unary, Var
from rayl2o.rules.operands import Variable
from rayl2o.symbolic.engines.evolved_islands import IslandTask, evolve, usable
from rayl2o.symbolic.engines.terms import Grammar
from tests.symbolic.engines.tables import table

DATA = table(lambda x: x[:, 0] * x[:, 1] + np.tanh(x[:, 2]) + x[:, 3])
TASK = IslandTask(DATA, Grammar(DATA.names), None, generations=6, population=80, cpu_s=60.0, seed=1)
X0, X1, X2 = (Var(Variable(f"x{i}")) for i in range(3))


def test_keeps_what_the_target_is_made_of() -> None:
    terms = evolve(TASK)
    assert Unary("tanh", X2) in terms
    assert Binary("*", X0, X1) in terms or Binary("*", X1, X0) in terms
    assert not any(isinstance(term, Var) for term in terms)
    assert len(set(terms)) == len(terms)


def test_repeatable() -> None:
    assert evolve(TASK) == evolve(TASK)
    assert evolve(TASK) != evolve(replace(TASK, seed=2))


def test_ends_at_its_ceiling() -> None:
    assert evolve(replace(TASK, generations=10_000, cpu_s=0.0)) == evolve(replace(TASK, generations=1))


def test_terms_under_a_divisor() -> None:
    divisor = 1 + DATA.x[:, 4] ** 2
    under = replace(DATA, y=np.tanh(3 * DATA.x[:, 0] * DATA.x[:, 1]) / divisor)
    terms = evolve(replace(TASK, data=under, factor=1 / divisor, generations=9))
    assert any(isinstance(term, Unary) and term.op == "tanh" for term in terms)


def test_usable() -> None:
    x = np.random.default_rng(0).standard_normal((100_000, 1))
    outlier = np.zeros_like(x)
    outlier[0] = 1.0
    table_of = np.concatenate((x, np.exp(x), outlier, np.ones_like(x), 1e9 * x), axis=1)
    assert usable(table_of).tolist() == [True, True, True, False, False]
