"""Formulas taken apart as filters, and put together again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Lag, Operand, Signal
from rayl2o.rules.parse import parse_expression
from rayl2o.symbolic.filters import FilterTerm, filter_of, filter_terms, gains_of, responses


def _terms(text: str) -> tuple[FilterTerm, ...] | None:
    return filter_terms(parse_expression(text))


def test_a_tanh_filter_is_taken_apart() -> None:
    found = _terms("-(2*tanh(g/4) - 3*tanh(lag(g, 2)*0.5)) + 0.5*ema(q, 0.9) - tanh(-g_tilde)")
    wanted = {
        FilterTerm(Signal("g"), -2.0, 0.25),
        FilterTerm(Lag("g", 2), 3.0, 0.5),
        FilterTerm(Ema("q", 0.9), 0.5),
        FilterTerm(Signal("g_tilde"), -1.0, -1.0),
    }
    assert set(found or ()) == wanted


@pytest.mark.parametrize(
    "text", ["g + 1", "g*q", "tanh(g + q)", "tanh(tanh(g))", "square(g)", "tanh(g)*tanh(g)", "1/g"]
)
def test_what_is_no_filter_is_none(text: str) -> None:
    assert _terms(text) is None


def test_zero_has_no_terms() -> None:
    assert _terms("0.0") == ()
    assert _terms("g - g") == ()


def test_a_filter_is_put_together_again() -> None:
    text = "-2*tanh(g/4) + 3*tanh(0.5*lag(g, 2)) + 0.5*ema(q, 0.9)"
    again = filter_of(_terms(text) or ())
    values = {o: torch.linspace(-2, 3, 7, dtype=torch.float64) * (i + 1) for i, o in enumerate(again.operands)}
    torch.testing.assert_close(again.evaluate(values), parse_expression(text).evaluate(values))


def test_a_linear_filter_is_the_canonical_form() -> None:
    terms: dict[Operand, float] = {Signal("g"): -0.5, Ema("g", 0.9): 0.25}
    assert filter_of(FilterTerm(o, w) for o, w in terms.items()) == Expression.linear(terms)
    assert filter_of(()) == Expression.linear({})


def test_responses_and_gains_are_of_slopes() -> None:
    terms = _terms("-2*tanh(g/4) - 3*lag(g, 2) + 0.5*ema(q, 0.9)") or ()
    found = responses(terms, 4)
    np.testing.assert_allclose(found["g"], [-0.5, 0, -3, 0])
    np.testing.assert_allclose(found["q"], [0.05 * 0.9**i for i in range(4)])
    assert gains_of(terms) == {"g": pytest.approx(-3.5), "q": pytest.approx(0.5)}
