from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rayl2o.cluster import trials
from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.study_base import SearchConfig, TrialConfig
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy
from rayl2o.cluster.study_space import OPTIMIZERS
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.cluster.symbolic_fit import all_tables, fitted
from rayl2o.cluster.trials import Said, digest, run_trial
from rayl2o.evaluate.runner import mean_loss
from rayl2o.evaluate.runner import run as run_rule
from rayl2o.folder import trained_rule
from rayl2o.run import TrainResult, resume, train
from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.tables import Tables
from rayl2o.telemetry import Progress
from tests.cluster.engine_study import small

BOWL = BaselineStudy(tasks=("quadratic",), task_settings={"size": 3}, horizon=27, draws=2, search=SearchConfig("asha"))
FIXED: dict[str, Any] = {
    "task": {"name": "quadratic"},
    "unroll": {"steps": 5, "sampling": "all"},
    "curriculum.n_train": [10],
    "updates": 6,
    "output.checkpoint_every": 4,
}
TRAINED = TrainingStudy(
    kind="training",
    horizon=10,
    draws=2,
    fixed=FIXED,
    space={"learner.rtg.lr": {"log": [1e-4, 1e-2]}},
    search=SearchConfig("asha", grace=2),
    meta_seeds=(0, 5),
)
LR = {"learner.rtg.lr": 0.003}


def said(study: Any, setting: dict[str, Any], runs: Path, optimizer: str = "sgd") -> list[Said]:
    reports: list[Said] = []
    run_trial(study, "quadratic", optimizer, setting, runs, reports.append)
    return reports


@pytest.mark.parametrize(("lr", "status"), [(0.01, "ok"), (1e4, "diverged")])
def test_a_baseline_reports_the_mean_loss_so_far(lr: float, status: str, tmp_path: Path) -> None:
    reports = said(BOWL, {"lr": lr}, tmp_path)
    assert [one.steps for one in reports] == list(BOWL.milestones) == [1, 3, 9, 27]
    rule = OPTIMIZERS["sgd"].make(lr=lr)
    for one in reports:
        scores = mean_loss(run_rule(rule, {}, BOWL.family("quadratic"), BOWL.tuning_seeds, one.steps))
        np.testing.assert_allclose(one.per_seed, scores, rtol=1e-6)
        assert one.score == pytest.approx(scores.mean(), rel=1e-6)
    assert reports[-1].status == status
    assert reports[-1].seconds > 0


def test_a_late_divergence_is_charged_as_at_the_end(tmp_path: Path) -> None:
    reports = said(BOWL, {"lr": 10.0}, tmp_path)
    rule = OPTIMIZERS["sgd"].make(lr=10.0)
    curves = run_rule(rule, {}, BOWL.family("quadratic"), BOWL.tuning_seeds, 27)
    assert 1 < curves.valid.min() < 27, "choose a rate that diverges on the way"
    for one in reports:
        np.testing.assert_allclose(one.per_seed, curves.loss[:, : one.steps].mean(1), rtol=1e-6)


def test_a_trial_out_of_time_says_so_and_how_far_it_came(tmp_path: Path) -> None:
    late = replace(BOWL, trial=TrialConfig(timeout_s=1e-9))
    (one,) = said(late, {"lr": 0.1}, tmp_path)
    assert (one.status, one.score, one.steps) == ("timeout", None, 0)
    assert "timeout_s" in one.error


def test_a_mistake_and_a_bug_in_a_trial_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mistake,) = said(BOWL, {"lr": -1.0}, tmp_path)
    assert (mistake.status, mistake.score) == ("error", None)
    assert "lr out of range" in mistake.error

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(trials, "baseline", broken)
    (bug,) = said(BOWL, {"lr": 0.1}, tmp_path)
    assert bug.status == "error"
    assert bug.error.startswith("ZeroDivisionError: a bug")


def test_training_is_scored_in_closed_loop_at_every_milestone(tmp_path: Path) -> None:
    reports = said(TRAINED, LR, tmp_path)
    assert [one.steps for one in reports] == [2, 6]
    assert all(one.status == "ok" for one in reports), reports
    family = TRAINED.config(LR, 0).make_family()
    scores = []
    for seed in TRAINED.meta_seeds:
        folder = tmp_path / f"whole-{seed}"
        train(TRAINED.config(LR, seed), folder)
        rule = trained_rule(folder)
        again = trained_rule(tmp_path / digest(LR) / f"seed-{seed}")
        assert all(torch.equal(rule.phi[name], again.phi[name]) for name in rule.phi)
        scores.append(mean_loss(run_rule(rule.rule, rule.phi, family, TRAINED.tuning_seeds, TRAINED.horizon)))
    np.testing.assert_allclose(reports[-1].per_seed, np.mean(scores, axis=0))


def test_training_goes_on_where_a_killed_trial_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = said(TRAINED, LR, tmp_path / "whole")
    stopped: list[Said] = []

    def stop(one: Said) -> None:
        stopped.append(one)
        raise SystemExit  # as Tune ends a trial

    with pytest.raises(SystemExit):
        run_trial(TRAINED, "quadratic", "rnnprop-small", LR, tmp_path / "runs", stop)
    trained: list[int] = []
    monkeypatch.setattr(trials, "train", lambda *_: pytest.fail("it began again"))

    def watched(out: Path, follow: Callable[[Progress], None]) -> TrainResult:
        def also(progress: Progress) -> None:
            trained.append(progress.round)
            follow(progress)

        return resume(out, also)

    monkeypatch.setattr(trials, "resume", watched)
    again = said(TRAINED, LR, tmp_path / "runs")
    assert min(trained) == 3
    assert [(one.steps, one.score) for one in again] == [(one.steps, one.score) for one in whole]
    trained.clear()
    finished = said(TRAINED, LR, tmp_path / "runs")
    assert not trained
    assert [one.score for one in finished] == [one.score for one in whole]


def distilled(study: SymbolicStudy, setting: dict[str, Any], tables: dict[str, tuple[Tables, ...]]) -> list[Said]:
    reports: list[Said] = []
    run_trial(study, study.task, study.engine, setting, Path("unused"), reports.append, tables)
    return reports


FIT = {"engine.population": 6}
ONE_SET: dict[str, Any] = {
    "space": {"engine.population": {"int": [5, 20]}},
    "fixed": {"operands.betas": [0.8], "nodes": 20},
}


def test_a_distillation_is_fitted_anew_at_every_milestone_and_its_cost_adds_up(tmp_path: Path) -> None:
    study = small(tmp_path, search={"kind": "asha"}, **ONE_SET)
    tables = all_tables(study, learned_rule(study.rule))
    reports = distilled(study, FIT, tables)
    assert [(one.steps, one.status) for one in reports] == [(1, "ok"), (3, "ok")], reports
    (own,) = tables.values()
    for one in reports:
        preset = study.preset(FIT, one.steps)
        fits = [fitted(study, preset, own[i], seed, study.family()) for i, seed in enumerate(study.tuning_fits)]
        assert one.score == pytest.approx(np.mean([fit.score for fit in fits]))
        np.testing.assert_allclose(one.per_seed, np.mean([fit.per_seed for fit in fits], axis=0))
        assert one.found["formula"] == str(fits[0].chosen.expression)
    assert 0 < reports[0].found["cpu_s"] < reports[1].found["cpu_s"]


def test_limits_of_a_trial_hold_inside_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small(tmp_path, **ONE_SET)
    tables = all_tables(study, learned_rule(study.rule))

    def endless(self: Evolved, train: Any, val: Any, budget: Any, seed: int, pmap: Any) -> Any:
        while True:
            list(pmap(abs, [1]))  # as an engine that hands its islands to the map

    monkeypatch.setattr(Evolved, "fit", endless)
    (late,) = distilled(replace(study, trial=TrialConfig(timeout_s=0.3)), FIT, tables)
    assert (late.status, late.score) == ("timeout", None)

    def greedy(*_: Any) -> Any:
        raise MemoryError("Unable to allocate 1 TiB")

    monkeypatch.setattr(Evolved, "fit", greedy)
    (large,) = distilled(study, FIT, tables)
    assert large.status == "memory"

    def nonsense(*_: Any) -> Any:
        return ["x0 + x1", None]

    monkeypatch.setattr(Evolved, "fit", nonsense)
    (silly,) = distilled(study, FIT, tables)
    assert silly.status == "error"
    assert "no formula" in silly.error
