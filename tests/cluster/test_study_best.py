from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rayl2o.cluster.study_best import BEST_JSON, BEST_YAML, best_of, choose, write_best
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy
from rayl2o.cluster.study_records import RUNS, Record
from rayl2o.cluster.trials import digest
from rayl2o.config import load, plain_yaml
from rayl2o.evaluate.runner import mean_loss, run
from rayl2o.rules.classic import Sgd
from rayl2o.rules.registry import parse_rule
from rayl2o.run import train

STUDY = BaselineStudy(
    tasks=("quadratic",), task_settings={"size": 3}, optimizers=("sgd", "adagrad"), draws=3, horizon=15
)


def record(ordinal: int, lr: float, score: float | None, status: str = "ok") -> Record:
    return Record("quadratic-sgd", ordinal, {"lr": 0.5}, {"lr": lr}, status, 15, score)


FOUND = [
    record(0, 0.01, 3.0),
    record(1, 0.002, 2.0),
    record(2, 5.0, 1.0, "pruned"),
    Record("quadratic-adagrad", 0, {}, {"lr": 1.0}, "error", 0, None, error="why"),
]


def test_the_best_is_the_lowest_of_those_that_went_the_whole_way() -> None:
    assert choose(STUDY.cells()[0], FOUND) == FOUND[1]
    assert choose(STUDY.cells()[1], FOUND) is None


def test_the_best_is_scored_on_other_seeds_and_its_edge_is_flagged() -> None:
    sgd, adagrad = best_of(STUDY, Path("unused"), FOUND)
    assert (sgd.rule, sgd.tuning_loss, sgd.trial) == ("sgd:lr=0.002", 2.0, "quadratic-sgd-0001")
    assert (sgd.trials, sgd.pruned, sgd.failed) == (3, 1, 0)
    curves = run(Sgd(lr=0.002), {}, STUDY.family("quadratic"), STUDY.scoring_seeds, STUDY.horizon)
    assert sgd.scored is not None
    assert sgd.scored.mean == pytest.approx(float(mean_loss(curves).mean()))
    assert sgd.scored.low < sgd.scored.mean < sgd.scored.high
    assert sgd.on_edge == ()
    assert (adagrad.scored, adagrad.setting, adagrad.failed) == (None, {}, 1)
    (edge, _) = best_of(STUDY, Path("unused"), [record(0, 0.001, 1.0)])
    assert edge.on_edge == ("lr",)


def test_presets_of_baselines_can_be_used(tmp_path: Path) -> None:
    best = best_of(STUDY, tmp_path, FOUND)
    write_best(STUDY, tmp_path, best)
    rules = plain_yaml((tmp_path / BEST_YAML).read_text())
    assert rules == {"quadratic": {"sgd": "sgd:lr=0.002"}}
    assert parse_rule(rules["quadratic"]["sgd"]) == Sgd(lr=0.002)
    said = json.loads((tmp_path / BEST_JSON).read_text())
    assert said["best"][0]["setting"] == {"lr": 0.002}
    assert said["best"][1]["scored"] is None
    assert (said["horizon"], said["draws"], said["scoring_seeds"]) == (15, 3, list(range(100, 110)))


def test_the_preset_of_a_training_is_a_config_and_its_rules_are_scored(tmp_path: Path) -> None:
    fixed = {
        "task": {"name": "quadratic"}, "unroll": {"steps": 5, "sampling": "all"},
        "curriculum.n_train": [10], "updates": 2,
    }  # fmt: skip
    space = {"learner.rtg.lr": {"log": [1e-4, 1e-2]}}
    study = TrainingStudy(kind="training", horizon=8, fixed=fixed, space=space, meta_seeds=(3, 4), draws=1)
    setting = {"learner.rtg.lr": 0.00011}
    for seed in study.meta_seeds:
        train(study.config(setting, seed), tmp_path / RUNS / digest(setting) / f"seed-{seed}")
    found = [Record("training", 0, {}, setting, "ok", 2, 1.0)]
    (best,) = best_of(study, tmp_path, found)
    assert best.on_edge == ("learner.rtg.lr",)
    assert best.scored is not None
    assert np.isfinite([best.scored.low, best.scored.mean, best.scored.high]).all()
    write_best(study, tmp_path, [best])
    assert load(str(tmp_path / BEST_YAML)) == study.config(setting, 3)
