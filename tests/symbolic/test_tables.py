"""Four tables from runs that share no draw."""

from __future__ import annotations

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.rules.operands import Ema, Lag, Signal
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.tables import record
from rayl2o.tasks.networks.mlp import MLP

FAMILY = MLP(hidden=(4,), batch_size=16)
RULE = SymbolicRule.from_formula("-0.1*g - 0.2*ema(g, 0.9)")
CONFIG = DistillConfig(horizon=60, rows=400, per_tensor=6, collect=2, validate=2, test=2)


def test_roles_share_no_row_and_stretched_rows_are_the_test_rows() -> None:
    tables = record(RULE, RULE.init_phi(), FAMILY, CONFIG).tables
    test, far = tables.test, tables.stretched
    assert test is not None
    assert far is not None
    answers = [set(table.y.tolist()) for table in (tables.train, tables.val, test)]
    assert not answers[0] & answers[1] | answers[0] & answers[2] | answers[1] & answers[2]
    np.testing.assert_array_equal(far.step, test.step)
    np.testing.assert_allclose(far.y, 3.0 * test.y, rtol=1e-5, atol=1e-9)
    place = test.operands.index(Ema("g", 0.9))
    np.testing.assert_allclose(far.x[:, place], 3.0 * test.x[:, place], rtol=1e-4, atol=1e-9)


def test_rows_say_where_they_are_from() -> None:
    train = record(RULE, RULE.init_phi(), FAMILY, CONFIG).tables.train
    assert set(train.layer.tolist()) == set(FAMILY.layout.depths)
    assert [FAMILY.layout.depths[i] for i in train.tensor] == train.layer.tolist()
    assert int(train.step.min()) > 0
    assert int(train.step.max()) < 60


def test_operands_are_as_asked() -> None:
    config = DistillConfig(
        horizon=80, rows=300, per_tensor=6, mode="paper", signals=("g", "t"), lags=5, sampling="windows"
    )
    train = record(RULE, RULE.init_phi(), FAMILY, config).tables.train
    assert train.operands == (Signal("g"), Signal("t"), *(Lag("g", lag) for lag in range(1, 5)))
    assert train.names == ("x0", "t", "x2", "x3", "x4", "x5")


def test_an_engine_sees_unit_variance_in_the_training_tables_units() -> None:
    tables = record(RULE, RULE.init_phi(), FAMILY, CONFIG).tables
    data, val = tables.train.data(), tables.val.data(tables.train)
    assert data.x[:, 0].std() == pytest.approx(1.0)
    assert data.y.std() == pytest.approx(1.0)
    np.testing.assert_allclose(val.x * tables.train.x_scale, tables.val.x)
    assert data.group is not None
    assert len(np.unique(data.group)) == 2 * 4


def test_network_rules_are_recorded_in_their_own_features() -> None:
    rule = RnnProp(projection=3, hidden=(4,))
    tables = record(rule, rule.init_phi(generator(0, "test")), FAMILY, CONFIG).tables
    assert {operand.signal for operand in tables.train.operands} == {"m_tilde", "g_tilde"}


def test_fewer_rows_than_operands_are_refused() -> None:
    config = DistillConfig(horizon=60, rows=40, per_tensor=1, collect=1, mode="paper", signals=("g", "q", "g_tilde"))
    with pytest.raises(UserError, match="fewer rows than are needed for 60 operands"):
        record(RULE, RULE.init_phi(), FAMILY, config)
