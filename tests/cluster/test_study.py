"""Whole studies on a real Ray, small ones; a kill of the driver is a real SIGKILL."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rayl2o.cluster.study import StudyProgress, begin, resume, run
from rayl2o.cluster.study_base import SearchConfig, TrialConfig
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy
from rayl2o.cluster.study_records import RESULTS, TRIALS, TUNE, Record, create, drop, keep, load, records
from rayl2o.config import load as load_run
from rayl2o.errors import UserError
from rayl2o.evaluate.search_space import SPACES
from rayl2o.evaluate.tuning import tune as tuned_here
from rayl2o.runtime import RuntimeConfig
from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.engines.registry import engine, resolve
from tests.cli.command import rayl2o
from tests.cluster.engine_study import small

ONE = RuntimeConfig(kind="local", workers=1)
YAML = """
kind: baselines
tasks: [quadratic]
task_settings: {size: 4}
optimizers: [adam, momentum]
horizon: 40
draws: 3
"""


def oracle(study: BaselineStudy, optimizer: str) -> list[tuple[dict[str, float], float]]:
    """The same draws, run side by side in this process."""
    tuned = tuned_here(
        SPACES[optimizer], study.family("quadratic"), study.tuning_seeds, study.horizon,
        scoring_seeds=study.scoring_seeds, draws=study.draws, seed=study.seed, prune=False,
    )  # fmt: skip
    return [(draw.values, draw.score) for draw in tuned.draws[: study.draws]]


@pytest.mark.timeout(240)
def test_tune_finds_what_a_tuning_in_one_process_finds(ray_local: None, tmp_path: Path) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(YAML)
    said = rayl2o("tune", file, "--out", out, "--workers", 2, "--json")
    data = said.json
    assert (data["study"], data["kind"], data["trials"], data["errors"]) == (str(out), "baselines", 6, 0)
    assert "trial 6/6" in said.err
    assert "ray" not in said.err.lower(), "Tune's own words"
    rows = pq.read_table(data["results"]).to_pylist()
    study = BaselineStudy(tasks=("quadratic",), task_settings={"size": 4}, horizon=40, draws=3)
    for optimizer in ("adam", "momentum"):
        own = [row for row in rows if row["optimizer"] == optimizer]
        for row, (values, score) in zip(own, oracle(study, optimizer), strict=True):
            assert {name: row[f"setting.{name}"] for name in values} == values
            assert row["score"] == pytest.approx(score, rel=1e-5)
            assert (row["steps"], row["status"] in ("ok", "diverged")) == (40, True)
        best = next(one for one in data["best"] if one["optimizer"] == optimizer)
        assert best["tuning_loss"] == min(row["score"] for row in own)
        assert best["scored"]["low"] <= best["scored"]["mean"] <= best["scored"]["high"]
    assert not (out / TUNE).exists(), "Tune's snapshots are not kept"
    assert logging.getLogger("ray.tune").level != logging.CRITICAL + 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = rayl2o("tune", "--resume", out, "--json")
    assert again.json["best"] == data["best"]


@pytest.mark.timeout(240)
def test_asha_stops_the_worse_ones_and_a_dead_trial_costs_no_other(ray_local: None, tmp_path: Path) -> None:
    study = BaselineStudy(
        tasks=("quadratic",), task_settings={"size": 4}, optimizers=("sgd",), horizon=27, draws=6,
        search=SearchConfig("asha"), trial=TrialConfig(attempts=1),
    )  # fmt: skip
    heard: list[StudyProgress] = []

    def dies(config: dict[str, Any], study: Any, runs: str, gate: Any) -> None:
        from rayl2o.cluster.study import tune_trial

        if config["ordinal"] == 1:
            os._exit(1)
        tune_trial(config, study, runs, gate)

    out = tmp_path / "out"
    done = run(create(study, out), out, ONE, heard.append, trial=dies)
    assert len(done.records) == 6
    assert [one.name for one in done.failures] == ["quadratic-sgd-0001"]
    assert (done.failures[0].status, done.to_json()["errors"]) == ("died", 1)
    assert (heard[-1].done, heard[-1].failed, heard[-1].total) == (6, 1, 6)
    pruned = [one for one in done.records if one.status == "pruned"]
    finished = [one for one in done.records if one.finished]
    assert pruned
    assert finished
    assert len(pruned) + len(finished) == 5
    assert all(one.steps in study.milestones[:-1] for one in pruned)
    assert all([step for step, _ in one.reports] == list(study.milestones) for one in finished)
    assert done.best[0].tuning_loss == min(one.score or 0.0 for one in finished)


def test_a_study_whose_every_trial_fails_says_why_after_writing_the_results(tmp_path: Path) -> None:
    study = BaselineStudy(tasks=("quadratic",), optimizers=("sgd",), horizon=20, draws=2)
    create(study, tmp_path)
    for i in range(2):
        keep(tmp_path, Record("quadratic-sgd", i, {}, {"lr": 1.0}, "timeout", 0, None, error="ran past timeout_s=1"))
    with pytest.raises(UserError, match=r"no trial .* ran past timeout_s"):
        run(study, tmp_path, ONE)
    rows = pq.read_table(tmp_path / RESULTS).to_pylist()
    assert [row["status"] for row in rows] == ["timeout", "timeout"]


@pytest.mark.timeout(240)
def test_settings_of_a_meta_training_are_swept(ray_local: None, tmp_path: Path) -> None:
    study = TrainingStudy(
        kind="training", horizon=10, draws=2, search=SearchConfig("asha", grace=2),
        fixed={
            "task": {"name": "quadratic"}, "unroll": {"steps": 5, "sampling": "all"}, "curriculum.n_train": [10],
            "updates": 6,
        },
        space={"learner.rtg.lr": {"log": [1e-4, 1e-2]}, "unroll.credit": {"choice": ["exact", "first_order"]}},
    )  # fmt: skip
    done = begin(study, tmp_path / "out", ONE)
    assert not done.failures, done.failures
    best = done.best[0]
    assert best.tuning_loss == min(one.score or 0.0 for one in done.records if one.finished)
    config = load_run(str(tmp_path / "out" / "best.yaml"))
    assert config.learner.rtg.lr == best.setting["learner.rtg.lr"]
    assert config.unroll.credit == best.setting["unroll.credit"]
    assert config.updates == 6


@pytest.mark.timeout(60)
def test_a_trial_that_no_node_can_hold_is_refused(ray_local: None, tmp_path: Path) -> None:
    study = BaselineStudy(tasks=("quadratic",), horizon=20, draws=1, trial=TrialConfig(cpus=4096))
    with pytest.raises(UserError, match="no node has room for a trial of 4096 CPUs"):
        begin(study, tmp_path / "out", ONE)


@pytest.mark.timeout(240)
def test_a_killed_study_goes_on_and_every_trial_is_finished_once(ray_local: None, tmp_path: Path) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(YAML.replace("horizon: 40", "horizon: 1000").replace("draws: 3", "draws: 4"))
    command = [
        "from rayl2o.cli import main; import sys; main(sys.argv[1:])",
        "tune",
        file,
        "--out",
        out,
        "--workers",
        "1",
    ]
    driver = subprocess.Popen(
        [sys.executable, "-c", *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    trials = out / TRIALS
    try:
        while driver.poll() is None and len(list(trials.glob("*.json"))) < 2:
            time.sleep(0.02)
        assert driver.poll() is None, "the study ended before it could be killed"
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    kept = {path: path.stat().st_mtime_ns for path in trials.glob("*.json")}
    assert 2 <= len(kept) < 8

    failed = replace(records(out, load(out).cells())[0], status="died", score=None)
    drop(out, failed)
    keep(out, failed)
    done = resume(out, ONE)
    assert not done.failures, "what failed is tried again"
    del kept[trials / f"{failed.name}.json"]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [(one.cell, one.ordinal) for one in done.records] == [
        (f"quadratic-{kind}", i) for kind in ("adam", "momentum") for i in range(4)
    ]
    study = done.study
    assert isinstance(study, BaselineStudy)
    for kind in ("adam", "momentum"):
        scores = [one.score for one in done.records if one.cell == f"quadratic-{kind}"]
        assert scores == pytest.approx([score for _, score in oracle(study, kind)], rel=1e-4)
    assert json.loads((out / "best.json").read_text())["best"][0]["trials"] == 4


@pytest.mark.timeout(240)
def test_settings_of_an_engine_are_swept_and_the_best_is_a_preset(ray_local: None, tmp_path: Path) -> None:
    """The tables cross to the trials, one of which dies; the rest is scored, shown, and told again without Ray."""
    study = small(tmp_path, search={"kind": "asha"}, trial={"attempts": 1})

    def dies(config: dict[str, Any], study: Any, runs: str, gate: Any, tables: Any) -> None:
        from rayl2o.cluster.study import tune_trial

        if config["ordinal"] == 1:
            os._exit(1)
        tune_trial(config, study, runs, gate, tables)

    out = tmp_path / "out"
    done = run(create(study, out), out, ONE, trial=dies)
    assert [(one.name, one.status) for one in done.failures] == [("symbolic-0001", "died")]
    assert {one.status for one in done.records if not one.failed} <= {"ok", "pruned"}
    sound = [one for one in done.records if one.finished]
    best = done.best[0]
    assert best.tuning_loss == min(one.score or 0.0 for one in sound)
    assert best.compared is not None
    assert [one.name for one in best.compared.standings] == ["tuned", "operands", "default", "linear"]
    rows = {row["trial"]: row for row in pq.read_table(out / RESULTS).to_pylist()}
    assert all(rows[one.name]["formula"] and rows[one.name]["cpu_s"] > 0 for one in sound)
    assert rows["symbolic-0001"]["formula"] is None
    preset = resolve(str(out / "best.yaml"))
    assert engine(str(out / "best.yaml")) == Evolved(**preset.settings)
    assert preset.settings["population"] == best.setting["engine.population"]
    assert preset.operands["betas"] == best.setting["operands.betas"]
    assert preset.origin["rule"] == study.rule, "the rule as it was named, not the copy"

    (tmp_path / "untrained.json").unlink()
    (tmp_path / "hasty.yaml").unlink()
    again = rayl2o("tune", "--resume", out, "--workers", 1, "--json").json
    assert (again["kind"], again["trials"], again["errors"]) == ("symbolic", 3, 0), "what died is tried again"
    kept = {one.name: one for one in records(out, done.study.cells())}
    assert all(kept[one.name] == one for one in done.records if not one.failed)
