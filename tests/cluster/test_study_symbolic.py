from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayl2o.cluster.study_config import dump, load_text, parse, read
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.errors import UserError
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.preset import EnginePreset, dump_preset
from tests.cluster.engine_study import SMALL, small


def test_a_setting_is_an_engine_with_all_that_it_may_spend(tmp_path: Path) -> None:
    study = small(tmp_path, search={"kind": "asha"})
    assert (study.budget, study.milestones) == (3, (1, 3))
    (cell,) = study.cells()
    assert (cell.task, cell.optimizer, list(cell.dimensions)) == (
        "quadratic", "evolved", ["engine.population", "operands.betas"],
    )  # fmt: skip
    preset = study.preset({"engine.population": 7, "operands.betas": [0.8]}, 1)
    settings = {"islands": 1, "population": 7, "generations": 1, "polish": 0, "quotient": False}
    assert preset == EnginePreset("evolved", settings, Budget(30.0, 20), {"betas": [0.8]})
    assert study.preset({"engine.population": 7}).settings["generations"] == 3
    study.check()


def test_the_rivals_spend_under_the_same_ceiling(tmp_path: Path) -> None:
    study, nodes = small(tmp_path, engine="evolved"), DistillConfig().budget.max_complexity
    assert study.default() == EnginePreset("evolved", budget=Budget(30.0, nodes))
    assert study.linear() == EnginePreset("linear", budget=Budget(30.0, nodes))


def test_a_preset_is_the_default_that_is_tuned(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    preset = EnginePreset("evolved", {"islands": 2, "population": 9}, Budget(5.0, 33), {"signals": ["g"]})
    file.write_text(dump_preset(preset, "mine"))
    study = small(tmp_path, engine=str(file), fixed={}, space={"engine.population": {"choice": [50]}})
    assert study.default() == EnginePreset("evolved", preset.settings, Budget(30.0, 33), preset.operands)
    tuned = study.preset({"engine.population": 50})
    assert tuned.settings == {"islands": 2, "population": 50, "generations": 3}
    assert (tuned.budget, tuned.operands) == (Budget(30.0, 33), {"signals": ["g"]})


def test_every_set_of_operands_is_named_once(tmp_path: Path) -> None:
    assert small(tmp_path).operand_sets() == [{"betas": [0.5, 0.9]}, {"betas": [0.8]}]
    space = {
        "operands.mode": {"choice": ["ema", "paper"]},
        "operands.lags": {"choice": [5, 10]},
        "nodes": {"int": [1, 9]},
    }
    assert len(small(tmp_path, fixed={}, space=space).operand_sets()) == 4
    assert small(tmp_path, space={"engine.population": {"int": [5, 9]}}).operand_sets() == [{}]


def test_it_survives_its_own_yaml_and_takes_overrides(tmp_path: Path) -> None:
    study = small(tmp_path)
    assert load_text(dump(study), "there") == study
    file = tmp_path / "study.yaml"
    file.write_text(dump(study))
    changed = read(str(file), ["metric=r2", "fixed.engine.islands=3", "space.engine.polish={int: [0, 3]}"])
    assert isinstance(changed, SymbolicStudy)
    assert (changed.metric, changed.fixed["engine.islands"]) == ("r2", 3)
    assert "engine.polish" in changed.dimensions()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"engine": "evolvd"}, "did you mean 'evolved'"),
        ({"metric": "r3"}, "did you mean 'r2'"),
        ({"task": "quadratc"}, "did you mean 'quadratic'"),
        ({"generations": 0}, "generations must be at least 1"),
        ({"cpu_s": 0.0}, "cpu_s must be positive"),
        ({"scoring_fits": [100]}, "scoring_fits must be 2 or more"),
        ({"tuning_fits": []}, "tuning_fits must be 1 or more"),
        ({"tuning_fits": [0, 100]}, "must not be scoring fits"),
        ({"space": {}}, "the space is empty"),
        ({"space": {"node": {"int": [5, 9]}}}, "did you mean 'nodes'"),
        ({"space": {"operands.beta": {"choice": [[0.5]]}}}, "did you mean 'operands.betas'"),
        ({"space": {"nodes": {"int": [5, 9]}}}, "both fixed and searched"),
        ({"space": {"engine.generations": {"int": [5, 9]}}}, "the budget of a trial"),
        ({"space": {"operands.lags": {"int": [5, 9]}}}, "searched by choice"),
        ({"space": {"operands.betas": {"choice": [[0.5 + 0.02 * i] for i in range(17)]}}}, "too many sets"),
        ({"engine": "linear", "fixed": {}, "space": {"engine.ridge": {"log": [1e-6, 1e-2]}}}, "does not search step by step"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_a_mend(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse({**SMALL, "rule": "unread", **change}, "here")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fixed": {"engine.island": 1}}, "did you mean 'islands'"),
        ({"fixed": {}, "space": {"engine.unary": {"choice": [["tanh"], ["tan"]]}}}, r"space.engine.unary .* did you mean 'tanh'"),
        ({"fixed": {}, "space": {"nodes": {"int": [0, 9]}}}, "space.nodes .* at least 1"),
        ({"space": {"operands.mode": {"choice": ["ema", "papers"]}}}, "did you mean 'paper'"),
        ({"space": {"operands.signals": {"choice": [["g"], ["gee"]]}}}, "gee"),
        ({"rule": "none.json"}, "no such rule file"),
    ],
)  # fmt: skip
def test_what_only_a_try_can_tell_is_found_before_any_trial(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    study = small(tmp_path, **change)
    with pytest.raises(UserError, match=says):
        study.check()


def test_an_engine_without_steps_has_a_budget_of_one(tmp_path: Path) -> None:
    study = small(tmp_path, engine="linear", fixed={}, space={"engine.ridge": {"log": [1e-6, 1e-2]}}, generations=1)
    study.check()
    assert study.preset({"engine.ridge": 0.1}).settings == {"ridge": 0.1}
