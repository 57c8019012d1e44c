from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayl2o.cluster import symbolic_scoring
from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.cluster.symbolic_fit import fitted, tables_of
from rayl2o.cluster.symbolic_scoring import DEFAULT, LINEAR, SCORED, TUNED, Comparison, FitScore, compared, comparison
from rayl2o.errors import UserError
from rayl2o.evaluate.runner import mean_loss, run
from tests.cluster.engine_study import small

SETTING = {"engine.population": 6, "operands.betas": [0.8]}


def fits(*rows: Sequence[float], r2: Sequence[float] = (0.5, 0.5)) -> list[FitScore]:
    """One fit per row of losses on the scoring seeds."""
    return [
        FitScore(seed, "g", 1, 0, value, tuple(row))
        for seed, row, value in zip((100, 101), rows, r2, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tuned", "better"),
    [
        (([1.0, 2.0, 3.0], [1.0, 2.1, 3.0]), True),
        (([0.5, 1.0, 1.0], [1.6, 2.6, 3.6]), False),
        (([1.4, 2.4, 3.6], [1.4, 2.4, 3.4]), False),
        (([1.5, 2.5, 3.5], [1.5, 2.5, 3.5]), False),
    ],
    ids=["every fit and seed", "one fit is worse", "one seed is worse", "no difference"],
)
def test_better_means_in_every_fit_and_beyond_the_spread_over_seeds(
    tuned: Sequence[Sequence[float]], better: bool, tmp_path: Path
) -> None:
    plain = fits([1.5, 2.5, 3.5], [1.5, 2.5, 3.5])
    found = comparison(small(tmp_path), {TUNED: fits(*tuned), DEFAULT: plain, LINEAR: plain})
    assert found.beats_default is better
    assert found[DEFAULT].against_default is None
    own = found[DEFAULT].metric
    assert own is not None
    assert own.mean == pytest.approx(2.5)
    difference = found[TUNED].against_default
    assert difference is not None
    assert difference.mean == pytest.approx(np.mean(tuned) - 2.5)
    assert found[TUNED].by_fit == pytest.approx(np.mean(tuned, axis=1))


def test_r2_is_compared_fit_by_fit(tmp_path: Path) -> None:
    study, rows = small(tmp_path, metric="r2"), ([1.0], [1.0])
    plain = fits(*rows, r2=(0.6, 0.7))
    found = comparison(study, {TUNED: fits(*rows, r2=(0.7, 0.85)), DEFAULT: plain, LINEAR: plain})
    assert found.beats_default
    assert found[TUNED].by_fit == pytest.approx((0.3, 0.15))
    assert not comparison(study, {TUNED: plain, DEFAULT: plain, LINEAR: plain}).beats_default


def test_a_contender_without_a_formula_loses_and_is_told(tmp_path: Path) -> None:
    plain = fits([1.0, 2.0], [1.0, 2.0])
    broken = [plain[0], FitScore(101, error="the engine found nothing")]
    study = small(tmp_path)
    found = comparison(study, {TUNED: broken, DEFAULT: plain, LINEAR: plain})
    assert (found.beats_default, found[TUNED].metric, found[TUNED].by_fit) == (False, None, (1.5,))
    assert found.to_json()["standings"][0]["fits"][1]["r2_test"] is None
    assert not comparison(study, {TUNED: plain, DEFAULT: broken, LINEAR: plain}).beats_default


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[SymbolicStudy, Path, Comparison]:
    """A study, a folder of scored fits, and what they say."""
    folder = tmp_path_factory.mktemp("scored")
    study = small(folder)
    return study, folder / "out", compared(study, folder / "out", SETTING)


def test_scores_are_of_rows_and_runs_that_chose_nothing(scored: tuple[SymbolicStudy, Path, Comparison]) -> None:
    study, out, found = scored
    one = found[TUNED].fits[1]
    preset = study.preset(SETTING)
    assert preset.operands == {"betas": [0.8]}
    tables = tables_of(study, learned_rule(study.rule), preset.operands, 101)
    again = fitted(study, preset, tables, 101, study.family()).chosen
    assert (one.fit, one.formula, one.nodes) == (101, str(again.expression), again.complexity)
    assert one.r2_test == again.r2_test
    rule = again.rule()
    curves = run(rule, rule.init_phi(), study.family(), study.scoring_seeds, study.horizon)
    np.testing.assert_allclose(one.per_seed, mean_loss(curves), rtol=1e-6)
    assert len(list((out / SCORED).glob("*.json"))) == 8


def test_a_fit_that_was_scored_is_not_made_again(
    scored: tuple[SymbolicStudy, Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out, first = scored
    shutil.copytree(out, tmp_path / "out")
    made: list[Any] = []

    def watched(*arguments: Any) -> Any:
        made.append(arguments[1].engine)
        return fitted(*arguments)

    monkeypatch.setattr(symbolic_scoring, "fitted", watched)
    next((tmp_path / "out" / SCORED).glob("linear-*.json")).unlink()
    again = compared(study, tmp_path / "out", SETTING)
    assert made == ["linear"]
    assert [one.by_fit for one in again.standings] == [one.by_fit for one in first.standings]
    made.clear()
    compared(study, tmp_path / "out", {**SETTING, "engine.population": 7})
    assert made == ["evolved", "evolved"], "the rivals are the same"


def test_a_damaged_score_is_named(scored: tuple[SymbolicStudy, Path, Comparison], tmp_path: Path) -> None:
    study, out, _ = scored
    shutil.copytree(out, tmp_path / "out")
    for path in (tmp_path / "out" / SCORED).glob("*.json"):
        path.write_text("{")
    with pytest.raises(UserError, match=r"score of a fit is damaged.*evolved-"):
        compared(study, tmp_path / "out", SETTING)
