from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy, parse
from rayl2o.cluster.study_records import (
    RESULTS,
    TRIALS,
    Record,
    create,
    drop,
    keep,
    load,
    records,
    rule_text,
    write_results,
)
from rayl2o.config import load as load_run
from rayl2o.errors import UserError
from rayl2o.rules.classic import Adam
from rayl2o.rules.registry import parse_rule

STUDY = BaselineStudy(tasks=("quadratic",), optimizers=("adam", "sgd"), draws=2, horizon=20)
GOOD = Record("quadratic-sgd", 1, {"lr": 0.5}, {"lr": 0.1}, "ok", 20, 0.25, (0.2, 0.3, 0.25), ((20, 0.25),), 1.5)
BAD = Record("quadratic-adam", 0, {}, {"lr": 0.1, "beta1": 0.9, "beta2": 0.99}, "timeout", 0, None, error="ran past")


def test_a_record_is_read_back_and_the_first_one_stays(tmp_path: Path) -> None:
    for one in (GOOD, BAD, replace(GOOD, score=0.0)):
        keep(tmp_path, one)
    assert records(tmp_path, STUDY.cells()) == [BAD, GOOD]
    drop(tmp_path, BAD)
    drop(tmp_path, BAD)
    assert records(tmp_path, STUDY.cells()) == [GOOD]


def test_what_counts() -> None:
    found = {status: replace(GOOD, status=status) for status in ("ok", "diverged", "pruned", "died", "error", "memory")}
    assert [status for status, one in found.items() if one.finished] == ["ok", "diverged"]
    assert [status for status, one in found.items() if one.failed] == ["died", "error", "memory"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cell": 1, "per_seed": [], "reports": [[1]]}'])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    keep(tmp_path, GOOD)
    (tmp_path / TRIALS / f"{GOOD.name}.json").write_text(text)
    with pytest.raises(UserError, match=GOOD.name):
        records(tmp_path, STUDY.cells())


def test_results_have_a_row_per_trial_and_a_column_per_setting(tmp_path: Path) -> None:
    assert write_results(STUDY, tmp_path, [BAD, GOOD]) == tmp_path / RESULTS
    bad, good = pq.read_table(tmp_path / RESULTS).to_pylist()
    assert bad["status"] == "timeout"
    assert bad["score"] is None
    assert bad["setting.beta1"] == 0.9
    assert good["setting.beta1"] is None
    assert good["setting.lr"] == 0.1
    assert (good["trial"], good["task"], good["optimizer"], good["rule"]) == (
        "quadratic-sgd-0001", "quadratic", "sgd", "sgd:lr=0.1",
    )  # fmt: skip
    assert good["per_seed"] == [0.2, 0.3, 0.25]
    assert good["seeds"] == [1, 2, 3]
    assert (good["steps"], good["budget"], good["seconds"]) == (20, 20, 1.5)


def test_choices_of_mixed_types_share_a_column(tmp_path: Path) -> None:
    study = parse(
        {"kind": "training", "space": {"learner.rtg.lr": {"log": [1e-3, 1e-2]}, "slots": {"choice": [1, 2]}}}, "here"
    )
    values = (1, None, "a", [1, 2])
    found = [Record("training", i, {}, {"x": value, "n": 1 + i / 2}, "ok", 1, 0.5) for i, value in enumerate(values)]
    write_results(study, tmp_path, found)
    rows = pq.read_table(tmp_path / RESULTS).to_pylist()
    assert [row["setting.x"] for row in rows] == ["1", "null", "a", "[1, 2]"]
    assert [row["setting.n"] for row in rows] == [1.0, 1.5, 2.0, 2.5]


def test_rule_text_is_what_the_command_line_takes() -> None:
    setting = {"lr": 0.000123, "beta1": 0.9, "beta2": 0.999877}
    assert parse_rule(rule_text("adam", setting)) == Adam(**setting)


def test_a_folder_keeps_its_study(tmp_path: Path) -> None:
    assert create(STUDY, tmp_path / "a") == STUDY == load(tmp_path / "a")
    with pytest.raises(UserError, match="holds a study already"):
        create(STUDY, tmp_path / "a")
    with pytest.raises(UserError, match="holds no study"):
        load(tmp_path / "b")
    (tmp_path / "a" / "study.yaml").write_text("kind: [")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "a")


def test_a_training_study_keeps_the_base_as_it_was(tmp_path: Path) -> None:
    base = tmp_path / "mine.yaml"
    base.write_text("updates: 50\n")
    space = {"learner.rtg.lr": {"log": [1e-3, 1e-2]}}
    study = TrainingStudy(kind="training", base=str(base), fixed={"slots": 2}, space=space)
    create(study, tmp_path / "a")
    base.unlink()
    kept = load(tmp_path / "a")
    assert isinstance(kept, TrainingStudy)
    assert kept.config({"learner.rtg.lr": 0.005}, 3) == load_run(
        str(tmp_path / "a" / "base.yaml"), ["learner.rtg.lr=0.005", "seed=3"]
    )
    assert (kept.budget, kept.config({}, 0).slots) == (50, 2)
