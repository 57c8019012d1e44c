from __future__ import annotations

import json
from pathlib import Path

import pytest

from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.pictures import Pictures
from rayl2o.symbolic.table_file import PLACES
from tests.cli.command import rayl2o, refused


def test_the_folder_holds_front_and_columns(distilled: Path) -> None:
    assert {"front.json", "report.html", "distilled.json", "gained.json", "tuned.json"} <= {
        path.name for path in distilled.iterdir()
    }
    data = json.loads((distilled / "front.json").read_text())
    assert Front.from_json(data["front"]).candidates
    assert data["card"]["horizon"] == 40
    assert Pictures.from_json(data["pictures"]).traces
    assert len(data["network_held_out"]["trail"][0]) == 4
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
    assert data["report"] == str(tmp_path / "again" / "report.html")
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


SHORT = ("--horizon", "40", "--updates", "0", "--rows", "400")


def test_any_engine_with_settings_and_tables_that_a_users_regression_reads(run: Path, tmp_path: Path) -> None:
    engine = "evolved:generations=1,population=20,islands=1,unary=tanh+sign"
    out = tmp_path / "out"
    data = rayl2o("distill", run, *SHORT, "--engine", engine, "--nodes", "20", "--tables", "--out", out, "--json").json
    assert not data["failures"]
    assert max(member["complexity"] for member in data["front"]) <= 20
    assert {"train.parquet", "val.parquet", "test.parquet", "stretched.parquet"} <= {p.name for p in out.iterdir()}
    places = [text for name in PLACES for text in ("--without", name)]
    args = ("--target", "delta", "--test", out / "test.parquet", "--engine", "linear", *places, "--json")
    found = rayl2o("regress", out / "train.parquet", *args).json
    assert found["front"][found["recommended"]]["r2"] > 0.5


def test_the_papers_windows_and_lags(run: Path, tmp_path: Path) -> None:
    args = ("--horizon", "80", "--updates", "0", "--engine", "linear", "--operands", "paper", "--sampling", "windows")
    data = rayl2o("distill", run, *args, "--signal", "g", "--out", tmp_path / "out", "--json").json
    assert data["front"]
    assert not any("ema" in member["formula"] for member in data["front"])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--engine", "evolvd"), "did you mean 'evolved'"),
        (("--engine", "evolved:generatons=2"), "did you mean 'generations'"),
        (("--engine", "evolved:generations=0"), "generations must be positive"),
        (("--engine", "evolved:generations"), "cannot read a setting"),
        (("--engine", "evolved:islands=1,islands=2"), "given twice"),
        (("--operands", "papr"), "did you mean 'paper'"),
        (("--sampling", "window"), "did you mean 'windows'"),
        (("--signal", "gg"), "signal"),
        (("--runtime", "inlin"), "runtime"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    run: Path, tmp_path: Path, args: tuple[str, ...], says: str
) -> None:
    refused(rayl2o("distill", run, *SHORT, *args, "--out", tmp_path / "out", "--json"), says)
    assert not (tmp_path / "out").exists()


def test_a_failed_engine_is_said_and_the_rest_is_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Evolved, "fit", crash)
    said = rayl2o("distill", run, *SHORT, "--out", tmp_path / "out", "--json")
    assert said.code == 0
    assert "evolved failed" in said.err
    assert said.json["failures"].keys() == {"evolved"}
    assert {member["engine"] for member in said.json["front"]} == {"linear"}
