from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.symbolic_fit import SeededRuns, all_tables, fitted, tables_of
from rayl2o.evaluate.runner import mean_loss, run
from rayl2o.rules.classic import Adam
from rayl2o.symbolic.candidate import predict
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.selection import score
from tests.cluster.engine_study import small


def test_a_seed_means_the_same_for_a_formula_as_for_any_rule(tmp_path: Path) -> None:
    family, seeds = small(tmp_path).family(), (4, 9)
    curves = run(Adam(lr=0.1), {}, family, seeds, 20)
    _, second = SeededRuns.of(family, seeds).parts(1)
    np.testing.assert_allclose(score(Adam(lr=0.1), {}, second, 20).per_run, mean_loss(curves)[1:], rtol=1e-6)
    np.testing.assert_allclose(
        score(Adam(lr=0.1), {}, SeededRuns.of(family, seeds), 20).per_run, mean_loss(curves), rtol=1e-6
    )


def test_tables_are_those_of_the_operands(tmp_path: Path) -> None:
    study = small(tmp_path)
    found = all_tables(study, learned_rule(study.rule))
    assert list(found) == ['{"betas": [0.5, 0.9]}', '{"betas": [0.8]}']
    assert [[len(part.train.operands) for part in one] for one in found.values()] == [[6, 6], [4, 4]]
    first, second = found['{"betas": [0.8]}']
    assert not np.array_equal(first.train.y, second.train.y), "every fit has rows of its own"
    again = tables_of(study, learned_rule(study.rule), {"betas": [0.8]}, 1)
    assert np.array_equal(again.train.x, first.train.x)


@pytest.mark.parametrize("metric", ["closed_loop", "r2"])
def test_the_metric_chooses_the_formula(metric: str, tmp_path: Path) -> None:
    study = small(tmp_path, metric=metric)
    tables = tables_of(study, learned_rule(study.rule), {"betas": [0.8]}, 0)
    preset = study.preset({"engine.population": 10, "operands.betas": [0.8]})
    one = fitted(study, preset, tables, 0, study.family())
    assert one.chosen.complexity <= 20
    assert 0 < one.cpu_s < 30
    if metric == "r2":
        y = predict(one.chosen.expression, tables.val, one.chosen.clamp)
        assert one.score == pytest.approx(1 - r2(tables.val.y, y))
        assert one.per_seed == ()
        return
    rule = one.chosen.rule()
    curves = run(rule, rule.init_phi(), study.family(), study.tuning_seeds, study.horizon)
    np.testing.assert_allclose(one.per_seed, mean_loss(curves), rtol=1e-6)
    assert one.score == pytest.approx(np.mean(one.per_seed))
    again = fitted(study, preset, tables, 0, study.family())
    assert (again.score, str(again.chosen.expression)) == (one.score, str(one.chosen.expression))
