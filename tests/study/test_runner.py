from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.study import trained
from rayl2o.study.definition import Study
from rayl2o.study.job import jobs
from rayl2o.study.runner import document, finished
from tests.study.examples import DISTILLATION, toy, toy_data

BASE = toy_data()["base"]
AXES = {
    "rule": {
        "dm": {"rule": {"kind": "dm", "settings": {"hidden": [2]}}},
        "large": {"rule": {"kind": "dm", "settings": {"hidden": [2]}}, "unroll": {"history_bytes": 1}},
    }
}
"""The second level is refused by the roll-out, not by the config."""


def _study(**changes: Any) -> Study:
    return toy(**({"axes": AXES, "reference": {}} | changes))


def _edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_job_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    study = _study()
    found = document("mine", study, finished(study, tmp_path))
    assert found["failed"] == ["large-0", "large-1"]
    assert [job["status"] for job in found["jobs"]] == ["ok", "failed", "ok", "failed"]
    assert "history_bytes" in found["jobs"][1]["error"]
    assert "traceback" not in found["jobs"][1]
    assert "Traceback" in json.loads((tmp_path / "jobs" / "large-0.json").read_text())["traceback"]


def test_finished_jobs_are_kept_and_failed_or_changed_ones_are_done_again(tmp_path: Path) -> None:
    study = _study()
    first = list(finished(study, tmp_path))
    kept, failed = tmp_path / "jobs" / "dm-0.json", tmp_path / "jobs" / "large-0.json"
    _edit(kept, mark="kept")
    _edit(failed, mark="again")
    again = {record["job"]: record for record in finished(study, tmp_path)}
    assert again["dm-0"]["mark"] == "kept"
    assert "mark" not in again["large-0"]
    changed = {record["job"]: record for record in finished(_study(base=BASE | {"updates": 4}), tmp_path)}
    assert "mark" not in changed["dm-0"]
    assert changed["dm-0"]["snapshots"][-1]["round"] == 4
    assert len(first) == len(again) == len(changed) == 4


def test_a_record_is_there_before_the_next_job_begins(tmp_path: Path) -> None:
    study = _study(axes={"rule": {"dm": AXES["rule"]["dm"]}})
    seen: list[int] = []

    def watching(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for item in items:
            seen.append(len(list(tmp_path.glob("jobs/*.json"))))
            yield function(item)

    list(finished(study, tmp_path, watching))
    assert seen == [0, 1]


def test_two_runs_of_a_study_agree_on_everything_but_time(tmp_path: Path) -> None:
    study = _study(axes={"rule": {"dm": AXES["rule"]["dm"]}})

    def losses(out: Path) -> list[Any]:
        return [(record["job"], [one["evaluations"] for one in record["snapshots"]]) for record in finished(study, out)]

    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_a_document_lists_the_jobs_in_order_whatever_the_order_of_the_records() -> None:
    study = _study()
    records = [{"job": job.name, "status": "ok"} for job in jobs(study)]
    found = document("mine", study, reversed(records))
    assert [job["job"] for job in found["jobs"]] == ["dm-0", "large-0", "dm-1", "large-1"]
    assert found["sha256"] == document("other", study, records)["sha256"]


def test_a_worker_that_dies_is_no_traceback(tmp_path: Path) -> None:
    def dying(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterable[Any]:
        raise BrokenProcessPool("gone")

    with pytest.raises(UserError, match="finished jobs are kept"):
        list(finished(_study(), tmp_path, dying))


def test_another_distillation_does_not_train_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"rule": {"rp": {"rule": {"kind": "rnnprop-small"}}}}

    def study(**changes: Any) -> Study:
        return _study(axes=axes, seeds=[0], distillation=DISTILLATION | changes)

    first = list(finished(study(), tmp_path))
    assert [record["job"] for record in first] == ["known-sgd-lr-0.03", "rp-0"]
    assert [record["status"] for record in first] == ["ok", "ok"]

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trained, "train", refuse)
    again = list(finished(study(horizons=[7]), tmp_path))
    assert [list(record["distillation"]["perception"]) for record in again] == [["7"], ["7"]]
    assert again[1]["snapshots"] == first[1]["snapshots"]
    assert list(finished(study(horizons=[7]), tmp_path)) == again


def test_nothing_is_kept_where_nothing_is_distilled(tmp_path: Path) -> None:
    list(finished(_study(axes={"rule": {"dm": AXES["rule"]["dm"]}}, seeds=[0]), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]
