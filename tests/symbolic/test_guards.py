"""Guards: rules that must be refused are, with the reason named; sound ones pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.rules.operands import Ema, Lag, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.guards import (
    ASCENT,
    BLOW_UP,
    MAGNITUDES,
    NO_CLAMP,
    POSITIVE_GAIN,
    STRETCH,
    Reason,
    Verdict,
    constant_response,
    inspect,
    settling_steps,
    steady_gains,
)
from rayl2o.symbolic.table import Table, make_table, operands_of
from tests.symbolic.recorded import recorded


@pytest.fixture(scope="module")
def table() -> Table:
    """Rows of a sound rule, with every operand that the rules below read."""
    extra = (Lag("g", 1), Ema("g_tilde", 0.985), Ema("g_tilde", 0.995), Signal("m_tilde"))
    return make_table(recorded(SymbolicRule.from_formula("-0.1*g_tilde")), (*operands_of("dm"), *extra), rows=400)


def _inspect(formula: str, table: Table) -> Verdict:
    """The verdict on a formula that fits its rows perfectly, as an engine would hand it over."""
    expression = SymbolicRule.from_formula(formula).expression
    answers = expression.evaluate(table.columns()).numpy()
    fitted = replace(table, y=answers, y_limit=float(abs(answers).max()))
    return inspect(SymbolicRule(expression, clamp=fitted.y_limit), fitted)


SOUND = (
    "-0.1*g",
    "-0.1*ema(g, 0.9)",
    "-0.05*g - 0.45*ema(g, 0.99)",
    "-0.01*m_tilde",
    "-0.1*q - 0.01*ema(q, 0.98)",
    "-0.01*tanh(q)",
    "-0.1*g + 0.05*lag(g, 1)",
    "-0.02*ema(g_tilde, 0.5) - 0.01*ema(g_tilde, 0.99)",
)
# From the notes on published rules: two slow averages whose weights a 20-lag window cannot tell apart. Gain -10.4 + 28.4 > 0.
SLOW_PAIR = "-10.4*ema(g_tilde, 0.985) + 28.4*ema(g_tilde, 0.995)"
REFUSED = {
    "ascent": ("0.1*g", {ASCENT, POSITIVE_GAIN}),
    "ascent of what is slow": ("-0.1*g + 0.2*ema(g, 0.99)", {ASCENT, POSITIVE_GAIN}),
    "sign flip at large magnitude": ("-0.1*g + 0.01*g*square(g)", {ASCENT}),
    "sign flip at small magnitude": ("-0.1*g + 0.001*sign(g)", {ASCENT}),
    "one-sided": ("-0.1*abs(g)", {ASCENT}),
    "offset": ("-0.1*g + 0.0001", {ASCENT, BLOW_UP}),
    "slow pair": (SLOW_PAIR, {ASCENT, POSITIVE_GAIN}),
    "hidden behind another signal": ("-2*g_tilde + 0.1*q", {POSITIVE_GAIN}),
    "explosive": ("-0.1*g - sinh(3*g_tilde)", {STRETCH}),
}


@pytest.mark.parametrize("formula", SOUND)
def test_sound_rules_pass(formula: str, table: Table) -> None:
    assert _inspect(formula, table) == Verdict((), ())


@pytest.mark.parametrize("case", REFUSED)
def test_unsound_rules_are_refused_by_name(case: str, table: Table) -> None:
    formula, names = REFUSED[case]
    verdict = _inspect(formula, table)
    assert {reason.name for reason in verdict.refused} == names
    assert all(any(ch.isdigit() for ch in reason.detail) for reason in verdict.refused), "a reason shows its number"


def test_one_feature_of_rnnprop_may_correct_the_other(table: Table) -> None:
    verdict = _inspect("-0.02*m_tilde + 0.005*g_tilde", table)
    assert verdict.refused == ()
    assert [reason.name for reason in verdict.flagged] == [POSITIVE_GAIN]


def test_growth_off_the_table_is_flagged_first(table: Table) -> None:
    cube = _inspect("-0.01*g_tilde*square(g_tilde)", table)
    assert cube.refused == ()
    assert [reason.name for reason in cube.flagged] == [STRETCH]
    fifth_power = _inspect("-0.01*g_tilde*square(square(g_tilde))", table)
    assert [reason.name for reason in fifth_power.refused] == [STRETCH]


def test_a_rule_without_its_clamp_is_flagged(table: Table) -> None:
    for clamp in (None, 10 * table.y_limit):
        verdict = inspect(SymbolicRule.from_formula("-0.1*g_tilde", clamp=clamp), table)
        assert verdict.flagged == (Reason(NO_CLAMP, f"no output clamp at max |y| = {table.y_limit:.3g}"),)


def test_the_response_to_a_constant_gradient_is_the_steady_state() -> None:
    rule = SymbolicRule.from_formula("-0.1*g - 0.4*ema(g, 0.99) - 0.01*lag(g, 3)")
    magnitudes = torch.tensor(MAGNITUDES, dtype=torch.float64)
    response = constant_response(rule)
    torch.testing.assert_close(response, torch.stack([-0.51 * magnitudes, 0.51 * magnitudes]), rtol=1e-5, atol=0)
    clamped = constant_response(SymbolicRule.from_formula("-0.1*g", clamp=0.5, gain=2.0))
    assert float(clamped.abs().max()) == pytest.approx(1.0)
    assert (MAGNITUDES[0], MAGNITUDES[-1]) == pytest.approx((1e-8, 1e2))


def test_settling_waits_for_the_slowest_average() -> None:
    assert settling_steps((Signal("g"),)) == 600
    assert 0.999 ** (settling_steps((Signal("g"), Ema("g", 0.999))) - 600) == pytest.approx(1e-6, rel=0.01)
    assert settling_steps((Ema("g", 0.999999),)) == 20_000


def test_steady_gains() -> None:
    rule = SymbolicRule.from_formula("-0.1*g - 0.4*ema(g, 0.99) + 0.2*lag(g, 3) + 0.5*q")
    assert steady_gains(rule.expression) == pytest.approx({"g": -0.3, "q": 0.5})
    assert steady_gains(SymbolicRule.from_formula("-tanh(g)").expression) is None
