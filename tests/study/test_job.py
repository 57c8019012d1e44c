from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.evaluate.runner import mean_loss, run
from rayl2o.rules.registry import parse_rule
from rayl2o.study.job import BaselineJob, KnownJob, TrainingJob, jobs
from rayl2o.study.scoring import scores
from rayl2o.study.training import train
from tests.study.examples import DISTILLATION, TASK, toy


def test_jobs_come_seed_by_seed_and_baselines_last() -> None:
    names = [job.name for job in jobs(toy(baselines={"rules": ["adam", "rmsprop"]}))]
    assert names[:4] == ["dm-first-0", "dm-exact-0", "rp-first-0", "rp-exact-0"]
    assert names[4] == "dm-first-1"
    assert names[8:] == ["baseline-adam-quadratic", "baseline-rmsprop-quadratic"]


def test_a_digest_changes_with_what_the_job_does_and_nothing_else() -> None:
    first = jobs(toy())[0]
    assert jobs(toy(question="Another?", seeds=[0, 1, 2], alive_below=1.0))[0].sha256 == first.sha256
    for changes in (
        {"snapshots": {"updates": [1]}},
        {"probe": {"credits": ["exact"]}},
        {"evaluations": [{"task": TASK, "steps": 6, "seeds": 2}]},
        {"base": {"updates": 4}},
        {"seeds": [1]},
        {"distillation": DISTILLATION | {"known": []}},
    ):
        assert jobs(toy(**changes))[0].sha256 != first.sha256, changes


def test_a_job_trains_and_scores_each_phi_once_and_says_plain_numbers() -> None:
    evaluations = [
        {"task": TASK, "name": "every", "steps": 5, "seeds": 2, "snapshots": "all"},
        {"task": TASK, "name": "end", "steps": 5, "seeds": 2},
    ]
    probe = {"credits": ["first_order"], "at": [0], "windows": 1}
    job = jobs(toy(evaluations=evaluations, snapshots={"updates": [0, 2]}, probe=probe))[0]
    assert isinstance(job, TrainingJob)
    done = json.loads(json.dumps(job.perform(), allow_nan=False))
    assert [sorted(one["evaluations"]) for one in done["snapshots"]] == [["every"], ["every"], ["end", "every"]]
    config = job.arm.config(0)
    taken = train(config, job.snapshots, job.name)
    for one, snapshot in zip(done["snapshots"], taken, strict=True):
        assert one["evaluations"]["every"] == scores(config.make_rule(), snapshot.phi, job.evaluations[0])
        assert len(one["cosines"]["first_order"]["0"]) == 1
    assert done["weights"] == sum(value.numel() for value in taken[0].phi.values())
    assert done["credit"] == "first_order"


def test_known_rules_come_first_and_change_no_other_job() -> None:
    few, more = (toy(distillation=DISTILLATION | {"known": known}) for known in (["sgd"], ["adam:lr=1e-3", "sgd"]))
    assert [job.name for job in jobs(more)][:3] == ["known-adam-lr-1e-3", "known-sgd", "dm-first-0"]
    assert isinstance(jobs(few)[0], KnownJob)
    assert [job.sha256 for job in jobs(few)] == [job.sha256 for job in jobs(more)][1:]


def test_two_jobs_may_not_write_one_file() -> None:
    with pytest.raises(UserError, match="known-sgd-lr-1e-3"):
        jobs(toy(distillation=DISTILLATION | {"known": ["sgd:lr=1e-3", "sgd: lr=1e-3"]}))


def test_a_job_crosses_a_process() -> None:
    known = jobs(toy(distillation=DISTILLATION))[0]
    for job in (jobs(toy())[0], jobs(toy(baselines={"rules": ["adam"]}))[-1], known):
        assert ForkingPickler.loads(ForkingPickler.dumps(job)) == job


def test_a_baseline_is_tuned_on_other_seeds_and_scored_on_the_evaluations() -> None:
    job = jobs(toy(baselines={"rules": ["momentum"], "draws": 5, "seeds": 2}))[-1]
    assert isinstance(job, BaselineJob)
    done = json.loads(json.dumps(job.perform(), allow_nan=False))
    assert done["draws"] >= 5
    one = job.evaluation
    curves = run(parse_rule(done["label"]), {}, one.make_family(), one.eval_seeds, one.steps)
    np.testing.assert_allclose(done["scores"]["mean_loss"], mean_loss(curves), rtol=1e-5)
    assert replace(job, rule="adam").sha256 != job.sha256


def test_tuning_seeds_must_not_be_scored_on() -> None:
    with pytest.raises(UserError, match="scores on tuning seeds"):
        jobs(toy(baselines={"rules": ["adam"], "first_seed": 10_001}))


def test_a_task_must_exist() -> None:
    for changes in (
        {"evaluations": [{"task": {"name": "quadratik"}}]},
        {"distillation": DISTILLATION | {"task": {"name": "quadratik"}}},
    ):
        with pytest.raises(UserError, match="did you mean 'quadratic'"):
            jobs(toy(**changes))
