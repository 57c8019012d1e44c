from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import rayl2o, refused


@pytest.fixture
def timid(tmp_path: Path) -> Path:
    """Gradient descent with too small a step."""
    path = tmp_path / "timid.json"
    path.write_text('{"schema_version": 1, "kind": "symbolic", "name": "timid", "formula": "-0.2*g", "clamp": 1.0}')
    return path


def test_tuning_helps_and_the_rule_is_saved(timid: Path, tmp_path: Path) -> None:
    args = ("--task", "quadratic", "--horizon", "40", "--updates", "50", "--out", tmp_path / "out", "--json")
    data = rayl2o("finetune", timid, *args).json
    assert Path(data["rule"]).is_file()
    assert data["history"][0][0] == 0
    assert data["score"]["mean_loss"] < 0.9 * data["history"][0][1]
    rows = rayl2o(
        "evaluate", timid, data["rule"], "--task", "quadratic", "--steps", "40", "--seeds", "5", "--json"
    ).json["results"]
    before, after = (
        sum(row["mean_loss"] for row in rows if row["rule"] == str(rule)) for rule in (timid, data["rule"])
    )
    assert after < before


def test_people_see_before_and_after(timid: Path, tmp_path: Path) -> None:
    said = rayl2o(
        "finetune", timid, "--task", "quadratic", "--horizon", "20", "--updates", "2", "--out", tmp_path / "out"
    )
    assert said.code == 0, said.err
    assert "before" in said.out
    assert "after" in said.out
    assert "Δθ" in said.out


def test_what_cannot_be_tuned(timid: Path) -> None:
    refused(rayl2o("finetune", timid, "--json"), "--task")
    refused(rayl2o("finetune", "adam:lr=0.01", "--task", "quadratic", "--json"), "formula")
