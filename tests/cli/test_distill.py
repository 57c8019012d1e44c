from __future__ import annotations

import json
from pathlib import Path

import pytest

from rayl2o.symbolic.front import Front
from tests.cli.command import rayl2o, refused


def test_the_folder_holds_front_and_columns(distilled: Path) -> None:
    assert {"front.json", "distilled.json", "gained.json", "tuned.json"} <= {path.name for path in distilled.iterdir()}
    data = json.loads((distilled / "front.json").read_text())
    assert Front.from_json(data["front"]).candidates
    assert data["card"]["horizon"] == 40
    assert data["card"]["task"] == "mlp"


def test_the_formulas_run(distilled: Path) -> None:
    rules = [distilled / f"{name}.json" for name in ("distilled", "tuned")]
    args = ("--task", "mlp", "--set", "hidden=[]", "--steps", "40", "--seeds", "2", "--json")
    rows = rayl2o("evaluate", *rules, *args).json["results"]
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["mean_loss"] < 2.302 for row in rows)


def test_the_tasks_of_the_run_are_taken_and_the_json_says_so(run: Path, distilled: Path, tmp_path: Path) -> None:
    said = rayl2o(
        "distill", run, "--horizon", "40", "--updates", "4", "--engine", "linear", "--out", tmp_path / "again", "--json"
    )
    data = said.json
    first = json.loads((distilled / "front.json").read_text())
    assert data["file"] == str(tmp_path / "again" / "front.json")
    chosen = data["front"][data["selected"]]
    assert chosen["formula"] == data["formula"] == first["selected"]["formula"]
    assert {"complexity", "r2", "closed_loop", "stable", "formula"} <= set(chosen)
    assert chosen["stable"] is True
    assert len(chosen["closed_loop_runs"]) == 3
    assert data["cpu_s"] > 0
    assert set(data["rules"]) == {"distilled", "gained", "tuned"}
    assert all(Path(path).is_file() for path in data["rules"].values())


def test_people_see_the_front_and_the_columns(run: Path, tmp_path: Path) -> None:
    said = rayl2o("distill", run, "--horizon", "20", "--updates", "0", "--engine", "linear", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    for part in ("front", "nodes", "network", "distilled", "gained", str(tmp_path / "out")):
        assert part in said.out.replace("\n", "")
    assert "tuned" not in said.out


def test_a_used_folder_is_refused(run: Path, distilled: Path) -> None:
    before = (distilled / "front.json").read_bytes()
    refused(rayl2o("distill", run, "--horizon", "20", "--out", distilled, "--json"), "holds a distillation already")
    assert (distilled / "front.json").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "says"),
    [(("adam:lr=0.01",), "learned rule"), (("gone/run",), "gone/run")],
)
def test_what_cannot_be_distilled(args: tuple[str, ...], says: str) -> None:
    refused(rayl2o("distill", *args, "--json"), says)


def test_a_formula_cannot_be_distilled(distilled: Path) -> None:
    refused(rayl2o("distill", distilled / "distilled.json", "--json"), "learned rule")
