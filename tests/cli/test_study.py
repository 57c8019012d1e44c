from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import rayl2o, refused
from tests.study.examples import DISTILLATION, toy_data


def _file(folder: Path, **changes: Any) -> Path:
    path = folder / "toy.yaml"
    path.write_text(json.dumps(toy_data(**changes)))  # JSON is YAML
    return path


def test_a_study_is_done_and_told(tmp_path: Path) -> None:
    study, out = _file(tmp_path), tmp_path / "out"
    said = rayl2o("study", study, "--out", out, "--json")
    data = said.json
    assert (data["study"], data["jobs"], data["failed"]) == ("toy", 8, [])
    assert [row["label"] for row in data["rows"]] == ["dm-first", "dm-exact", "rp-first", "rp-exact"]
    assert all(Path(file).is_file() for file in (data["results"], *data["figures"], out / "toy.md"))
    assert len(data["figures"]) == 1
    assert json.loads((out / "toy.json").read_text())["sha256"] == data["sha256"]
    assert "done 8/8: rp-exact-1" in said.err
    (out / "jobs" / "dm-first-0.json").unlink()
    written = {path: path.stat().st_mtime_ns for path in out.glob("jobs/*.json")}
    again = rayl2o("study", study, "--out", out)
    assert again.code == 0
    assert "dm / exact" in again.out
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())


def test_distilled_rules_are_told(tmp_path: Path) -> None:
    arms = {"rule": {"rp": {"rule": {"kind": "rnnprop-small"}}}}
    study = _file(tmp_path, axes=arms, reference={}, distillation=DISTILLATION)
    said = rayl2o("study", study, "seeds=[0]", "--out", tmp_path / "out", "--json")
    assert [one["label"] for one in said.json["distilled"]] == ["sgd:lr=0.03", "rp"]
    assert [one["inputs"] for one in said.json["distilled"]] == [["g"], ["m_tilde", "g_tilde"]]
    assert [Path(file).name for file in said.json["figures"]] == ["toy.png", "toy-formulas.png"]
    assert "| sgd:lr=0.03 | g | 0.0 | 0.0 |" in (tmp_path / "out" / "toy.md").read_text()


def test_a_job_that_fails_ends_with_1_and_is_named(tmp_path: Path) -> None:
    arms = {"good": {"rule": {"kind": "rnnprop-small"}}, "bad": {"unroll": {"history_bytes": 1}}}
    study = _file(tmp_path, axes={"arm": arms}, reference={})
    said = rayl2o("study", study, "seeds=[0]", "--out", tmp_path / "out", "--json")
    assert said.code == 1
    assert json.loads(said.out)["failed"] == ["bad-0"]
    assert "bad-0" in said.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("dm-alife",), "did you mean 'dm-alive'?"),
        (("dm-alive", "seed=[0]"), "did you mean 'seeds'?"),
        (("dm-alive", "base.unroll.step=1"), "did you mean 'steps'?"),
    ],
)
def test_a_mistake_is_one_line(args: tuple[str, ...], says: str, tmp_path: Path) -> None:
    refused(rayl2o("study", *args, "--out", tmp_path), says)
    assert not list(tmp_path.iterdir())
