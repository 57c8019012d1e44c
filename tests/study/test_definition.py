from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.studies import studies
from rayl2o.study.definition import load, name_of, parse, plain, written
from rayl2o.study.job import jobs
from tests.study.examples import TASK, toy, toy_data


@pytest.mark.parametrize("name", studies())
def test_every_shipped_study_says_what_it_asks_and_its_arms_can_be_made(name: str) -> None:
    study = load(name)
    assert studies()[name]
    assert study.question.endswith("?")
    assert len({job.name for job in jobs(study)}) == len(jobs(study)) > 0


def test_the_definition_on_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    file = tmp_path / "page.yaml"
    file.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    assert len(jobs(load(str(file)))) == 2 * 2 * 5 + 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluation": []}, "did you mean 'evaluations'?"),
        ({"snapshots": {"update": [1]}}, "did you mean 'updates'?"),
        ({"evaluations": [{"task": TASK, "step": 5}]}, "did you mean 'steps'?"),
        ({"evaluations": [{"task": {"name": "quadratic", "setings": {}}}]}, "did you mean 'settings'?"),
        ({"evaluations": [{"task": TASK, "where": {"rule": "dn"}}]}, "did you mean 'dm'?"),
        ({"evaluations": [{"task": TASK, "snapshots": "first"}]}, "known: all, last"),
        ({"evaluations": [{"task": TASK}, {"task": TASK}]}, "different names"),
        ({"evaluations": []}, "needs an evaluation"),
        ({"reference": {"credits": "first"}}, "did you mean 'credit'?"),
        ({"reference": {"credit": "frist"}}, "did you mean 'first'?"),
        ({"baselines": {"rules": ["adamm"]}}, "did you mean 'adam'?"),
        ({"baselines": {"draws": 0}}, "baselines.draws"),
        ({"probe": {"windows": 0}}, "windows >= 1"),
        ({"snapshots": {"cpu_s": [0.0]}}, "must be positive"),
        ({"snapshots": {"updates": [-1]}}, "at least 0"),
        ({"seeds": [1, 1]}, "different numbers"),
        ({"seeds": [0.5]}, "whole number"),
        ({"axes": {}}, "axes with levels"),
        ({"axes": {"rule": {"../dm": {}}}}, "not fit for a file's"),
    ],
)
def test_a_mistake_is_said_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(toy_data(**changes))
    assert says in str(caught.value)


def test_a_study_is_plain_data_again() -> None:
    study = toy(snapshots={"updates": [1], "cpu_s": [0.5]})
    data = plain(study)
    assert parse(json.loads(json.dumps(data))) == study


def test_what_is_at_its_default_is_not_written() -> None:
    study = toy(evaluations=[{"task": TASK, "steps": 1000, "seeds": 2}])
    assert written(study.evaluations) == [{"task": TASK, "seeds": 2}]
    assert written(study.probe) == {}
    assert parse(written(study)) == study


def test_a_file_is_read_with_overrides_and_names_its_results(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(toy_data()))  # JSON is YAML
    assert load(str(file), ["seeds=[7]", "base.updates=9"]) == toy(seeds=[7], base=toy_data()["base"] | {"updates": 9})
    assert name_of(str(file)) == "mine"
    assert name_of("dm-alive") == "dm-alive"


def test_an_unknown_study_is_told_with_its_near_miss(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'dm-alive'"):
        load("dm-alife")
    with pytest.raises(UserError, match="cannot be read"):
        load(str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        load(str(tmp_path / "binary.yaml"))
    (tmp_path / "large.yaml").write_text("#" * 70_000)
    with pytest.raises(UserError, match="bytes"):
        load(str(tmp_path / "large.yaml"))


def test_seeds_of_an_evaluation_are_counted_from_the_first() -> None:
    study = toy(evaluations=[{"task": TASK, "name": "own", "first_seed": 40, "seeds": 3}], baselines={"seeds": 2})
    assert study.evaluations[0].eval_seeds == (40, 41, 42)
    assert study.evaluations[0].label == "own"
    assert study.baselines.tuning_seeds == (20_000, 20_001)
