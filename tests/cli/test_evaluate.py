from __future__ import annotations

import math
from pathlib import Path

import pytest

from rayl2o.cli.evaluate import short_names
from rayl2o.evaluate.suites import SUITES
from tests.cli.command import rayl2o, refused

QUICK = ("--steps", "30", "--seeds", "3", "--first-seed", "5")


@pytest.fixture(scope="module")
def results() -> list[dict[str, object]]:
    rules = ("adam:lr=0.01", "sgd:lr=0.1")
    said = rayl2o("evaluate", *rules, "--task", "mlp-orig", "--data", "digits", *QUICK, "--json")
    found = said.json["results"]
    assert isinstance(found, list)
    return found


def test_the_contract_of_evaluate(results: list[dict[str, object]]) -> None:
    assert [(row["rule"], row["task"], row["seed"]) for row in results] == [
        (rule, "mlp-orig", seed) for rule in ("adam:lr=0.01", "sgd:lr=0.1") for seed in (5, 6, 7)
    ]
    for row in results:
        assert set(row) == {"rule", "task", "seed", "log_loss", "mean_loss", "status"}
        assert row["status"] == "ok"
        assert isinstance(row["log_loss"], dict)
        assert set(row["log_loss"]) == {"20", "30"}
        assert all(isinstance(value, float) for value in row["log_loss"].values())
        assert isinstance(row["mean_loss"], float)


def test_log_loss_is_the_log_of_the_mean_of_the_last_20(results: list[dict[str, object]]) -> None:
    said = rayl2o(
        "evaluate", "sgd:lr=0.1", "--task", "mlp-orig", "--steps", "20", "--seeds", "1", "--first-seed", "5", "--json"
    )
    (row,) = said.json["results"]
    assert row["log_loss"]["20"] == pytest.approx(math.log(row["mean_loss"]), rel=1e-6)
    assert row["log_loss"]["20"] == pytest.approx(results[3]["log_loss"]["20"], rel=1e-5)  # type: ignore[index]


def test_a_seed_means_the_same_however_many_there_are(results: list[dict[str, object]]) -> None:
    args = ("--task", "mlp-orig", "--steps", "30", "--seeds", "1", "--first-seed", "6", "--json")
    (row,) = rayl2o("evaluate", "adam:lr=0.01", *args).json["results"]
    assert row["mean_loss"] == pytest.approx(results[1]["mean_loss"], rel=1e-5)


def test_divergence_is_a_status_and_finite() -> None:
    args = ("--task", "quadratic", "--steps", "60", "--seeds", "2", "--json")
    for row in rayl2o("evaluate", "sgd:lr=1e6", *args).json["results"]:
        assert row["status"] == "diverged"
        assert math.isfinite(row["mean_loss"])


def test_a_suite_runs_all_its_tasks() -> None:
    args = ("--suite", "mlp-transfer", "--steps", "3", "--seeds", "1", "--json")
    tasks = [row["task"] for row in rayl2o("evaluate", "adam:lr=0.01", *args).json["results"]]
    assert tuple(tasks) == SUITES["mlp-transfer"].tasks


def test_a_setting_of_the_task_is_heard() -> None:
    args = ("evaluate", "sgd:lr=0.1", "--task", "mlp", "--steps", "2", "--seeds", "1", "--json")
    plain, other = (rayl2o(*args, *more).json["results"][0]["mean_loss"] for more in ((), ("--set", "hidden=[3]")))
    assert plain != other


def test_workers_change_nothing(results: list[dict[str, object]]) -> None:
    rules = ("adam:lr=0.01", "sgd:lr=0.1")
    said = rayl2o("evaluate", *rules, "--task", "mlp-orig", "--data", "digits", *QUICK, "--workers", "2", "--json")
    assert said.json["results"] == results


def test_people_get_a_table_with_the_verdict(tmp_path: Path) -> None:
    formula = tmp_path / "descent.json"
    formula.write_text('{"schema_version": 1, "kind": "symbolic", "formula": "-0.1*g"}')
    said = rayl2o("evaluate", formula, "sgd:lr=0.0", "--task", "quadratic", "--steps", "20", "--seeds", "5")
    assert said.code == 0
    assert "lr=0.0" in said.out
    assert "worse" in said.out
    assert "evaluated 2/2" in said.err


@pytest.mark.parametrize(
    ("rules", "short"),
    [
        (["adam:lr=0.1", "runs/q-1"], ["adam:lr=0.1", "runs/q-1"]),
        (["/tmp/a/b/rule.json", "runs/q-1"], ["b/rule.json", "runs/q-1"]),
        (["/x/b/rule.json", "/y/b/rule.json"], ["/x/b/rule.json", "/y/b/rule.json"]),
    ],
)
def test_names_are_short_unless_that_mixes_them_up(rules: list[str], short: list[str]) -> None:
    assert list(short_names(rules).values()) == short


def test_a_single_seed_has_a_table_too() -> None:
    said = rayl2o("evaluate", "sgd:lr=0.1", "--task", "quadratic", "--steps", "20", "--seeds", "1")
    assert said.code == 0
    assert "no intervals" in said.out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("adam:lr=0.01",), "--task or --suite"),
        (("adam:lr=0.01", "--task", "quadratic", "--suite", "mlp-transfer"), "--task or --suite"),
        (("adam:lr=0.01", "adam:lr=0.01", "--task", "quadratic"), "stands twice"),
        (("adam:lr=0.01", "--task", "quadratic", "--set", "size"), "key=value"),
        (("adam:lr=0.01", "--task", "quadratic", "--set", "size=[1"), "--set size"),
        ((".", "--task", "quadratic"), "neither a run nor a rule"),
    ],
)
def test_what_cannot_be_evaluated(
    args: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(rayl2o("evaluate", *args, "--json"), says)
