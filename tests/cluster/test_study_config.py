from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rayl2o.cluster.study_base import SearchConfig, TrialConfig
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy, dump, load_text, parse, read
from rayl2o.errors import UserError

BASELINES: dict[str, Any] = {
    "kind": "baselines",
    "tasks": ["quadratic"],
    "task_settings": {"size": 3},
    "optimizers": ["adam", "sgd"],
    "ranges": {"adam.lr": [1e-3, 0.1]},
    "horizon": 20,
    "draws": 4,
}
TRAINING: dict[str, Any] = {
    "kind": "training",
    "fixed": {"updates": 9, "rule.settings.output_scale": 0.2},
    "space": {"learner.rtg.lr": {"log": [1e-4, 1e-2]}, "unroll.credit": {"choice": ["exact", "first_order"]}},
    "horizon": 20,
    "draws": 3,
}


def test_a_study_of_baselines_has_a_cell_for_each_task_and_optimizer() -> None:
    study = parse({**BASELINES, "tasks": ["quadratic"]}, "here")
    assert isinstance(study, BaselineStudy)
    assert [cell.name for cell in study.cells()] == ["quadratic-adam", "quadratic-sgd"]
    assert list(study.cells()[0].dimensions) == ["lr", "beta1", "beta2"]
    assert all(len(cell.points(study.draws)) == 4 for cell in study.cells())
    assert study.budget == 20


def test_a_study_of_training_composes_base_fixed_and_setting() -> None:
    study = parse(TRAINING, "here")
    assert isinstance(study, TrainingStudy)
    assert list(study.dimensions()) == ["learner.rtg.lr", "unroll.credit"]
    config = study.config({"learner.rtg.lr": 0.5, "unroll.credit": "first_order"}, meta_seed=7)
    assert (config.updates, config.learner.rtg.lr, config.unroll.credit, config.seed) == (9, 0.5, "first_order", 7)
    assert config.rule.settings["output_scale"] == 0.2
    assert study.budget == 9
    study.check()


@pytest.mark.parametrize("data", [BASELINES, TRAINING])
def test_a_study_survives_its_own_yaml(data: dict[str, Any]) -> None:
    study = parse(data, "here")
    assert load_text(dump(study), "there") == study


def test_overrides_reach_nested_keys(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(dump(parse(TRAINING, "here")))
    study = read(
        str(file),
        [
            "search.kind=asha",
            "fixed.updates=12",
            "fixed.unroll.steps=10",
            "space.learner.rtg.clip_norm={uniform: [0.1, 1]}",
        ],
    )
    assert isinstance(study, TrainingStudy)
    assert study.search.kind == "asha"
    assert study.budget == 12
    assert "learner.rtg.clip_norm" in study.dimensions()
    assert study.config({}, 0).unroll.steps == 10
    for override in ("fixed.updates", "fixed.=1", "draws", "fixed.updates=[", "draws=["):
        with pytest.raises(UserError, match=r"override must read|not plain YAML"):
            read(str(file), [override])


@pytest.mark.parametrize(
    ("base", "change", "says"),
    [
        (BASELINES, {"kind": "baseline"}, "did you mean 'baselines'"),
        (BASELINES, {"kind": None}, "needs a kind"),
        (BASELINES, {"optimisers": ["adam"]}, "did you mean 'optimizers'"),
        (BASELINES, {"optimizers": ["adma"]}, "did you mean 'adam'"),
        (BASELINES, {"optimizers": []}, "at least one"),
        (BASELINES, {"optimizers": ["sgd", "sgd"]}, "different names"),
        (BASELINES, {"tasks": ["quadratc"]}, "did you mean 'quadratic'"),
        (BASELINES, {"task_settings": {"sizes": 3}}, "did you mean 'size'"),
        (BASELINES, {"ranges": {"rmsprop.lr": [1e-3, 1.0]}}, "unknown optimizer in ranges"),
        (BASELINES, {"ranges": {"adam.lr": [1.0, 1e-3]}}, "is empty"),
        (BASELINES, {"horizon": 0}, "horizon must be at least 1"),
        (BASELINES, {"draws": "many"}, "draws in here has the wrong type"),
        (BASELINES, {"tuning_seeds": [1, 100]}, "must not be scoring seeds"),
        (BASELINES, {"tuning_seeds": [1, 1]}, "different numbers"),
        (BASELINES, {"scoring_seeds": [1]}, "2 or more"),
        (BASELINES, {"search": {"kind": "ahsa"}}, "did you mean 'asha'"),
        (BASELINES, {"search": {"reduction": 1}}, "at least 2"),
        (BASELINES, {"search": {"grace": -1}}, "at least 0"),
        (BASELINES, {"trial": {"timeout_s": 0}}, "must be positive"),
        (BASELINES, {"trial": {"memory": 1}}, "did you mean 'memory_mb'"),
        (BASELINES, {"trial": {"memory_mb": -1}}, "at least 0"),
        (BASELINES, {"trial": {"attempts": 0}}, "at least 1"),
        (TRAINING, {"space": {}}, "the space is empty"),
        (TRAINING, {"space": {"learner.rtg.lr": {"lag": [1, 2]}}}, "must have one kind|did you mean 'log'"),
        (TRAINING, {"base": "quickstrat"}, "did you mean 'quickstart'"),
        (TRAINING, {"fixed": {"update": 3}}, "did you mean 'updates'"),
        (TRAINING, {"meta_seeds": []}, "different numbers"),
        (TRAINING, {"fixed": {"learner.rtg.lr": 0.1}}, "both fixed and searched"),
    ],
)
def test_a_mistake_is_refused_with_a_mend(base: dict[str, Any], change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse({**base, **change}, "here")


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"learner.rtg.lrr": {"log": [1e-3, 1e-2]}}, "did you mean 'lr'"),
        ({"unroll.credit": {"choice": ["exact", "exactly"]}}, "space.unroll.credit has a value that no run takes"),
        ({"updates": {"int": [4, 9]}}, "the budget of a trial"),
    ],
)
def test_a_space_that_no_run_takes_is_refused_before_any_trial(space: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse({**TRAINING, "fixed": {}, "space": space}, "here").check()


def test_data_that_is_not_there_is_found_before_any_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    study = parse({**BASELINES, "tasks": ["mlp-orig"], "task_settings": {"data": "mnist"}}, "here")
    with pytest.raises(UserError, match="RAYL2O_DATA"):
        study.check()


@pytest.mark.skipif(importlib.util.find_spec("optuna") is not None, reason="optuna is installed")
def test_a_missing_optuna_is_named_before_any_trial() -> None:
    with pytest.raises(UserError, match="pip install"):
        parse({**BASELINES, "search": {"kind": "optuna"}}, "here").check()


@pytest.mark.parametrize(
    ("search", "budget", "marks"),
    [
        (SearchConfig(), 100, (100,)),
        (SearchConfig("asha"), 27, (1, 3, 9, 27)),
        (SearchConfig("asha", reduction=3, grace=100), 1000, (100, 300, 900, 1000)),
        (SearchConfig("asha", reduction=2, grace=25), 100, (25, 50, 100)),
        (SearchConfig("asha", grace=200), 100, (100,)),
        (SearchConfig("asha"), 2, (1, 2)),
    ],
)
def test_milestones_grow_by_the_reduction_and_end_with_the_budget(
    search: SearchConfig, budget: int, marks: tuple[int, ...]
) -> None:
    assert search.milestones(budget) == marks


@pytest.mark.parametrize(
    ("text", "says"),
    [("kind: [", "is not plain YAML"), ("- 1", "must be a mapping"), ("", "needs a kind"), ("kind: &a x\n", "kind")],
)
def test_a_damaged_file_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        read(str(tmp_path / "s.yaml"))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="YAML file comes first"):
        read("draws=3")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read(str(tmp_path / "binary.yaml"))
    (tmp_path / "big.yaml").write_text("# " + "x" * 70_000)
    with pytest.raises(UserError, match="a few lines"):
        read(str(tmp_path / "big.yaml"))


def test_limits_have_defaults() -> None:
    assert TrialConfig() == TrialConfig(cpus=1.0, memory_mb=0, timeout_s=3600.0, attempts=2)
