"""Rules of few bytes on tables: a rule that is one is found, budgets are kept, ascent is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.rules.operands import Ema, Lag, Operand, OperandBank, Signal
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic import compress_windows
from rayl2o.symbolic.compress import identifiable_beta, state_bytes
from rayl2o.symbolic.compress_formula import compressed_formula, refitted
from rayl2o.symbolic.compress_table import Cut, compressed, scored
from rayl2o.symbolic.compress_windows import with_window_averages
from rayl2o.symbolic.guards import POSITIVE_GAIN
from rayl2o.symbolic.table import Table, make_table, operands_of
from tests.symbolic.recorded import recorded

RP = "-0.02*m_tilde - 0.01*ema(g_tilde, 0.8)"


@cache
def _tables(formula: str, kind: str, mode: str, noise: float = 0.0) -> tuple[Table, Table, Cut]:
    rule = SymbolicRule.from_formula(formula)
    runs = [recorded(rule, steps=120, seed=seed, noise=noise) for seed in (0, 1)]

    def cut(operands: tuple[Operand, ...]) -> tuple[Table, Table]:
        train, val = (make_table(run, operands, 800, 0) for run in runs)
        return train, val

    return (*cut(operands_of(kind, mode)), cut)


def test_bytes_count_the_moments() -> None:
    assert state_bytes((Signal("g"), Signal("q"))) == 0
    assert state_bytes((Signal("m_tilde"), Signal("g_tilde"))) == 8
    assert state_bytes((Signal("m_tilde"), Ema("m_tilde", 0.8), Ema("g_tilde", 0.8))) == 16
    assert state_bytes((Lag("g", 19),)) == 76


def test_a_rule_of_averages_is_found_in_its_bytes() -> None:
    train, val, _ = _tables(RP, "rnnprop", "ema")
    found = {one.state_bytes: one for one in compressed(train, val)}
    assert set(found) == {4, 8, 12, 16}
    terms = found[12].candidate.expression.linear_terms() or {}
    assert terms.keys() == {Signal("m_tilde"), Ema("g_tilde", 0.8)}
    assert terms[Signal("m_tilde")] == pytest.approx(-0.02, abs=1e-6)
    assert found[12].candidate.r2_val > 1 - 1e-4  # the clamp of the training rows cuts a few of the held-out ones
    assert all(one.state_bytes == 4 * one.candidate.buffers for one in found.values())
    assert not any(one.candidate.refused for one in found.values())
    assert [one.candidate.r2_val for one in found.values()] == sorted(one.candidate.r2_val for one in found.values())


def test_a_budget_is_kept() -> None:
    train, val, _ = _tables(RP, "rnnprop", "ema")
    assert [one.state_bytes for one in compressed(train, val, max_bytes=8)] == [4, 8]
    with pytest.raises(UserError, match="no rule over these signals"):
        compressed(train, val, max_bytes=3)


def test_a_rule_is_found_in_windows_and_fitted_on_histories() -> None:
    """Within 20 lags an average of .8 is cut off at 1 %; cut from full histories it is whole again."""
    train, val, cut = _tables(RP, "rnnprop", "paper")
    found = {one.state_bytes: one for one in compressed(train, val, max_bytes=12, cut=cut)}
    (average,) = (o for o in found[12].candidate.expression.operands if isinstance(o, Ema))
    assert average.signal == "g_tilde"
    assert average.beta == pytest.approx(0.8, abs=0.02)
    assert found[12].candidate.r2_val > 0.999
    windows = {one.state_bytes: one for one in compressed(train, val, max_bytes=12)}
    assert windows[12].candidate.r2_val > 0.99


def test_betas_from_windows_are_bounded() -> None:
    train, val, _ = _tables("-0.1*ema(q, 0.99)", "dm", "paper")
    part = _only(train, "q"), _only(val, "q")
    found = compressed(*part, max_bytes=8)
    betas = [o.beta for one in found for o in one.candidate.expression.operands if isinstance(o, Ema)]
    assert betas
    assert max(betas) <= identifiable_beta(20) + 1e-12


def test_the_time_is_not_averaged() -> None:
    _, _, cut = _tables("-0.1*ema(q, 0.5)", "dm", "paper")
    train, val = cut((Signal("t"), Signal("q"), *(Lag("q", lag) for lag in range(1, 20))))
    found = compressed(train, val, max_bytes=4)
    assert {o.signal for one in found for o in one.candidate.expression.operands} == {"q"}
    assert found[-1].candidate.r2_val > 0.999


def test_a_signal_without_a_window_is_not_averaged() -> None:
    _, _, cut = _tables("-0.1*ema(q, 0.5) - 0.1*g", "dm", "paper")
    train, val = cut((Signal("g"), Signal("q"), *(Lag("q", lag) for lag in range(1, 20))))
    found = compressed(train, val, max_bytes=4)[-1]
    assert set(found.candidate.expression.operands) >= {Signal("g")}
    assert {o.signal for o in found.candidate.expression.operands if isinstance(o, Ema)} == {"q"}
    assert found.candidate.r2_val > 0.999


def test_two_betas_at_their_limit_are_one_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress_windows, "search_betas", lambda misfit, states, *rest: np.full(states, 0.95))
    train = _only(_tables("-0.1*ema(q, 0.99)", "dm", "paper")[0], "q")
    choices = list(compress_windows.from_windows(train, 8))
    assert len(choices) == 3
    for choice in choices:
        made = with_window_averages(train, tuple(choice.terms))
        rest = made.x @ np.array(list(choice.terms.values())) - train.y
        assert float(rest @ rest) / float(train.y @ train.y) == pytest.approx(choice.error, rel=1e-9)
    assert choices[1].terms.keys() == choices[2].terms.keys()


def _only(table: Table, signal: str) -> Table:
    keep = [i for i, operand in enumerate(table.operands) if operand.signal == signal]
    names = tuple(table.operands[i] for i in keep)
    return replace(table, operands=names, x=table.x[:, keep], x_scale=table.x_scale[keep])


def test_a_rule_that_ascends_is_refused_by_name() -> None:
    train, val, _ = _tables("0.02*q + 0.01*ema(q, 0.8)", "dm", "ema")
    found = compressed(_only(train, "q"), _only(val, "q"), max_bytes=4)
    assert all(POSITIVE_GAIN in [reason.name for reason in one.candidate.refused] for one in found)


def test_a_gain_that_turned_is_refused_where_the_guards_only_flag() -> None:
    train, val, _ = _tables(RP, "rnnprop", "ema")
    expression = parse_expression("-0.02*m_tilde + 0.001*g_tilde")
    kept = scored(expression, train, val, 1.0, {"m_tilde": -1.0, "g_tilde": 0.2})
    turned = scored(expression, train, val, 1.0, {"m_tilde": -1.0, "g_tilde": -0.2})
    assert not kept.candidate.refused
    assert [reason.name for reason in turned.candidate.refused] == [POSITIVE_GAIN]


def test_a_result_is_plain_json() -> None:
    train, val, _ = _tables(RP, "rnnprop", "ema", noise=0.01)
    one = compressed(train, val, max_bytes=8)[-1]
    data = json.loads(json.dumps(one.to_json()))
    assert data["state_bytes"] == 8
    assert data["r2"] < data["full_r2"] < 1


def test_window_averages_are_the_filter_cut_off() -> None:
    train, _, _ = _tables(RP, "rnnprop", "paper")
    made = with_window_averages(train, (Signal("m_tilde"), Ema("g_tilde", 0.5), Lag("m_tilde", 3)))
    place = {operand: i for i, operand in enumerate(train.operands)}
    past: list[Operand] = [Signal("g_tilde"), *(Lag("g_tilde", lag) for lag in range(1, 20))]
    wanted = train.x[:, [place[operand] for operand in past]] @ (0.5 * 0.5 ** np.arange(20))
    np.testing.assert_allclose(made.x[:, 1], wanted, rtol=1e-12)
    np.testing.assert_array_equal(made.x[:, 2], train.x[:, place[Lag("m_tilde", 3)]])
    for operand in (Ema("q", 0.5), Lag("g_tilde", 30)):
        with pytest.raises(UserError, match="does not have"):
            with_window_averages(train, (operand,))


def test_a_window_with_a_gap_is_refused() -> None:
    train, _, _ = _tables(RP, "rnnprop", "paper")
    keep = [i for i, operand in enumerate(train.operands) if operand != Lag("m_tilde", 4)]
    names = tuple(train.operands[i] for i in keep)
    gap = replace(train, operands=names, x=train.x[:, keep], x_scale=train.x_scale[keep])
    with pytest.raises(UserError, match="window with a gap"):
        with_window_averages(gap, (Ema("m_tilde", 0.5),))


def test_a_fir_formula_is_compressed_by_response_and_by_weights() -> None:
    fir = " ".join(f"- {0.1 * 0.6**i!r}*{f'lag(g_tilde, {i})' if i else 'g_tilde'}" for i in range(20))
    train, val, cut = _tables(fir, "rnnprop", "paper")
    by_response, by_weights = compressed_formula(parse_expression(fir), train, val, states=(1,), cut=cut)
    assert by_response.state_bytes == by_weights.state_bytes == 8
    assert by_response.full_r2 > 1 - 1e-9
    assert by_response.candidate.r2_val > 1 - 1e-6
    assert by_response.response_error == {"g_tilde": pytest.approx(0.0, abs=1e-6)}
    assert not by_weights.response_error
    assert by_weights.candidate.r2_train >= by_response.candidate.r2_train - 1e-12


def test_a_tanh_filter_is_measured_and_its_weights_fitted() -> None:
    rule = "-0.3*tanh(0.5*m_tilde) - 0.2*tanh(0.5*ema(m_tilde, 0.8))"
    train, val, cut = _tables(rule, "rnnprop", "ema")
    one = scored(refitted(parse_expression(rule.replace("0.2", "0.7")), train), train, val, 1.0, {})
    assert one.candidate.r2_val > 1 - 1e-6  # the clamp of the training rows cuts a few of the held-out ones
    assert one.gains == {"m_tilde": pytest.approx(-0.25)}
    fir = " ".join(f"- {0.05 * 0.7**i!r}*tanh({f'lag(m_tilde, {i})' if i else 'm_tilde'})" for i in range(20))
    train, val, cut = _tables(fir, "rnnprop", "paper")
    by_response, by_weights = compressed_formula(parse_expression(fir), train, val, states=(1,), cut=cut)
    assert 0.9 < by_response.candidate.r2_val < 1 - 1e-4  # the tanh is outside the average now
    assert by_weights.candidate.r2_train > by_response.candidate.r2_train


def test_when_every_compression_is_refused_so_is_the_formula() -> None:
    train, val, _ = _tables(RP, "rnnprop", "paper")
    with pytest.raises(UserError, match="only a filter"):
        compressed_formula(parse_expression("-square(m_tilde)"), train, val)
    with pytest.raises(UserError, match="only a filter"):
        refitted(parse_expression("-square(m_tilde)"), train)


def test_every_rule_runs_in_the_bytes_it_says() -> None:
    train, val, _ = _tables(RP, "dm", "ema", noise=0.002)
    for one in compressed(train, val, max_bytes=12):
        assert one.candidate.rule().state_size * 4 == one.state_bytes
        assert OperandBank(one.candidate.expression.operands).state_size * 4 == one.state_bytes
