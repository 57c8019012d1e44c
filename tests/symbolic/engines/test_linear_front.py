"""The linear engine recovers known linear rules through the search, is deterministic, and never has an offset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rayl2o.rules.operands import Ema, Operand, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.engines.linear import Linear
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.search import search
from rayl2o.symbolic.table import make_table, operands_of
from rayl2o.symbolic.tables import Tables
from rayl2o.symbolic.trajectories import collect
from rayl2o.tasks.networks.mlp import MLP
from tests.symbolic.recorded import recorded


def _fit(tables: Tables) -> Front:
    return search(tables, Linear()).front


def _tables(rule: SymbolicRule, kind: str = "dm", noise: float = 0.0) -> Tables:
    return Tables(
        make_table(recorded(rule, seed=0, noise=noise), operands_of(kind), rows=1500),
        make_table(recorded(rule, seed=1, noise=noise), operands_of(kind), rows=1500),
    )


RULES: dict[str, tuple[str, str, dict[Operand, float]]] = {
    "heavy ball": ("-0.5*ema(g, 0.9)", "dm", {Ema("g", 0.9): -0.5}),
    "Nesterov": ("-0.05*g - 0.45*ema(g, 0.9)", "dm", {Signal("g"): -0.05, Ema("g", 0.9): -0.45}),
    "three signals": (
        "-0.01*q - 0.02*ema(g_tilde, 0.98) - 0.002*ema(g, 0.5)",
        "dm",
        {Signal("q"): -0.01, Ema("g_tilde", 0.98): -0.02, Ema("g", 0.5): -0.002},
    ),
    "Adam without its root": ("-0.01*m_tilde", "rnnprop", {Signal("m_tilde"): -0.01}),
}


@pytest.mark.parametrize("name", RULES)
def test_a_linear_rule_comes_back_exactly(name: str) -> None:
    formula, kind, wanted = RULES[name]
    front = _fit(_tables(SymbolicRule.from_formula(formula), kind))
    best = front.candidates[-1]
    assert best.complexity == 4 * len(wanted) - 1
    found = best.expression.linear_terms()
    assert found is not None
    assert found == pytest.approx(wanted, rel=1e-5)
    assert best.r2_train == pytest.approx(1.0, abs=1e-12)
    assert best.r2_val > 0.95  # not 1: the answers are clamped at the largest of the training runs


def test_heavy_ball_comes_back_from_closed_loop_trajectories() -> None:
    rule, family = SymbolicRule.from_formula("-0.5*ema(g, 0.9)"), MLP(hidden=(8,), batch_size=32)
    tables = [
        make_table(collect(rule, rule.init_phi(), Runs(family, 0, role, 2), 150, 8), operands_of("dm"), 1000)
        for role in ("collect", "validate")
    ]
    best = _fit(Tables(tables[0], tables[1])).candidates[-1]
    terms = best.expression.linear_terms()
    assert terms is not None
    assert set(terms) == {Ema("g", 0.9)}
    assert terms[Ema("g", 0.9)] == pytest.approx(-0.5, rel=1e-5)  # the record is float32
    assert best.r2_val == pytest.approx(1.0, abs=1e-6)


def test_scales_are_folded_back_exactly() -> None:
    rule = SymbolicRule.from_formula("-0.05*g - 0.45*ema(g, 0.9)")
    tables = _tables(rule)
    train = replace(tables.train, x_scale=np.ones_like(tables.train.x_scale), y_scale=1.0)
    one, other = (_fit(t).candidates[-1].expression.linear_terms() for t in (tables, replace(tables, train=train)))
    assert one is not None
    assert one == pytest.approx(other, rel=1e-8)


def test_the_front_under_noise_is_monotone_and_deterministic() -> None:
    rule = SymbolicRule.from_formula("-0.1*ema(q, 0.8) - 0.1*ema(q, 0.98) - 0.05*ema(g_tilde, 0.95) - 0.02*g_tilde")
    tables = _tables(rule, noise=0.01)
    front = _fit(tables)
    assert front == _fit(tables)
    assert len(front.candidates) >= 3
    scores = [c.r2_val for c in front.candidates]
    nodes = [c.complexity for c in front.candidates]
    assert scores == sorted(scores)
    assert nodes == sorted(nodes)
    assert all(c.expression.linear_terms() is not None for c in front.candidates)


def test_no_candidate_has_an_offset() -> None:
    """A dead coordinate must stand still: every operand is 0 there, so the answer must be."""
    tables = _tables(SymbolicRule.from_formula("-0.1*g"), noise=0.1)
    shifted = replace(tables.train, y=tables.train.y + 5.0)
    front = _fit(replace(tables, train=shifted))
    for candidate in (*front.candidates, *front.refused):
        assert candidate.expression.linear_terms() is not None
