"""The regression table: rows are what they say, balanced, scaled per signal."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.operands import Ema, Lag, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.sampling import EARLY, LATE
from rayl2o.symbolic.table import BETAS, make_table, operands_of
from tests.symbolic.recorded import recorded

RULE = SymbolicRule.from_formula("-0.1*g - 0.2*ema(g, 0.9) + 0.05*lag(g, 2)")


def test_operand_sets() -> None:
    assert len(operands_of("rnnprop")) == 14
    assert len(operands_of("dm")) == 21
    assert len(operands_of("rnnprop", "paper")) == 40
    assert len(operands_of("dm", "paper")) == 60
    assert {o.signal for o in operands_of("rnnprop")} == {"m_tilde", "g_tilde"}
    assert {o.signal for o in operands_of("dm")} == {"g", "q", "g_tilde"}
    assert sorted({o.beta for o in operands_of("dm") if isinstance(o, Ema)}) == list(BETAS)
    assert max(o.lag for o in operands_of("dm", "paper") if isinstance(o, Lag)) == 19
    with pytest.raises(UserError, match="did you mean 'paper'"):
        operands_of("dm", "papr")


def test_a_row_is_operands_of_the_full_history_and_the_answer() -> None:
    trajectories = recorded(RULE)
    table = make_table(trajectories, (Signal("g"), Ema("g", 0.9), Lag("g", 2)), rows=400)
    np.testing.assert_allclose(table.x @ np.array([-0.1, -0.2, 0.05]), table.y, rtol=1e-10, atol=1e-12)
    assert table.x.dtype == table.y.dtype == np.float64
    assert table.y_limit == float(trajectories.delta.abs().max()) > np.abs(table.y).max()
    assert list(table.columns()) == list(table.operands)


def test_rows_are_even_over_runs_tensors_and_periods() -> None:
    table = make_table(recorded(RULE, steps=100), (Signal("g"),), rows=320)
    cells = Counter(zip(table.run.tolist(), table.tensor.tolist(), table.period.tolist(), strict=True))
    assert len(cells) == 2 * 2 * 2
    assert set(cells.values()) == {40}
    assert set(table.period.tolist()) == {EARLY, LATE}


def test_periods_are_where_they_say() -> None:
    # A rule that answers with the time tells from which step each row is.
    clock = SymbolicRule.from_formula("t")
    table = make_table(recorded(clock, steps=200), (Signal("g"),), rows=2000)
    step = np.round(table.y * 1000)
    assert step[table.period == EARLY].min() >= 4
    assert step[table.period == EARLY].max() < 40
    assert step[table.period == LATE].min() >= 100


def test_rows_are_drawn_once_and_by_seed() -> None:
    trajectories = recorded(RULE, steps=60)
    one, two, other = (make_table(trajectories, (Signal("g"),), 200, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.x, two.x)
    assert not np.array_equal(one.x, other.x)
    assert len(np.unique(one.x)) == len(one.x)


def test_one_scale_per_signal() -> None:
    table = make_table(recorded(RULE), (Signal("q"), Ema("q", 0.99), Lag("q", 3), Ema("g", 0.5)), rows=400)
    assert table.x_scale[0] == table.x_scale[1] == table.x_scale[2]
    assert table.x_scale[0] == pytest.approx(table.x[:, 0].std())
    assert table.x_scale[3] != table.x_scale[0]
    assert table.y_scale == pytest.approx(table.y.std())


def test_steps_after_a_divergence_give_no_rows() -> None:
    clock = SymbolicRule.from_formula("t")
    whole = recorded(clock, steps=100)
    table = make_table(replace(whole, valid=torch.full_like(whole.valid, 15)), (Signal("g"),), rows=200)
    assert np.round(table.y * 1000).max() < 15
    assert set(table.period.tolist()) == {EARLY}


def test_useless_records_are_refused() -> None:
    whole = recorded(RULE, steps=50)
    with pytest.raises(UserError, match="no step of any run"):
        make_table(replace(whole, valid=torch.zeros_like(whole.valid)), (Signal("g"),))
    with pytest.raises(UserError, match="does not vary"):
        make_table(replace(whole, delta=torch.zeros_like(whole.delta)), (Signal("g"),))
    with pytest.raises(UserError, match="not finite"):
        make_table(replace(whole, delta=whole.delta / 0.0), (Signal("g"),))
