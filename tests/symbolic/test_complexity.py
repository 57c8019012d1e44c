"""MC and the two ways of counting."""

from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.parse import parse_expression
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.complexity import COUNTING_RULE, inputs, lags_until_forgotten, mapping_complexity
from rayl2o.symbolic.guards import Reason


def _candidate(text: str, r2: float, refused: bool = False) -> Candidate:
    reasons = (Reason("ascent", "uphill"),) if refused else ()
    return Candidate(parse_expression(text), "test", 1.0, r2, r2, r2, r2, {}, refused=reasons)


FRONT = [
    _candidate("-g", 0.5),
    _candidate("-0.5*g", 0.97, refused=True),
    _candidate("-0.1*g - 0.2*ema(g, 0.9)", 0.96),
    _candidate("-0.1*g - 0.2*ema(g, 0.9) - 0.1*lag(g, 3)", 0.99),
]


def test_the_simplest_member_within_the_error_counts() -> None:
    found = mapping_complexity(FRONT, 0.05)
    assert (found.nodes, found.inputs) == (7, 1 + 29)
    assert found.error == pytest.approx(0.04)
    assert mapping_complexity(reversed(FRONT), 0.015).nodes == 11
    assert mapping_complexity(FRONT, 0.5).nodes == 2


def test_no_member_within_the_error_is_none() -> None:
    assert mapping_complexity(FRONT, 0.0).nodes is None
    assert mapping_complexity([], 0.05).to_json()["nodes"] is None
    assert mapping_complexity([_candidate("-g", float("nan"))], 0.9).nodes is None


def test_the_way_of_counting_is_told() -> None:
    assert mapping_complexity(FRONT).to_json()["counting_rule"] == COUNTING_RULE


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(UserError, match="share of the variance"):
        mapping_complexity(FRONT, threshold)


def test_inputs_are_table_2_of_s() -> None:
    assert inputs(parse_expression("-0.1*g")) == 1  # SGD
    assert inputs(parse_expression("-0.1*m_tilde")) == 1  # Adam, "when viewing m~ as input"
    assert inputs(parse_expression("-0.1*ema(g, 0.9)")) == 29  # momentum: ln .05 / ln .9 = 28.4
    assert inputs(parse_expression("-g*g - lag(g, 1)*g")) == 2  # each once


def test_an_average_is_forgotten_below_a_twentieth() -> None:
    for beta in (0.5, 0.9, 0.99):
        count = lags_until_forgotten(beta)
        assert beta**count <= 0.05 < beta ** (count - 1)
    assert lags_until_forgotten(0.01) == 1
