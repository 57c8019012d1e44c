from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import TINY, rayl2o, refused

CONTRACT = {"run", "updates", "phi_sha256", "inner_steps_per_s", "status"}


def _train(*args: object) -> dict[str, object]:
    found = rayl2o("train", "quickstart", *TINY, *args, "--json").json
    assert isinstance(found, dict)
    return found


def test_the_contract_of_train_and_resume(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = _train("seed=3", "updates=4", "--runtime", "inline", "--out", folder)
    assert set(done) == CONTRACT
    assert (done["run"], done["updates"], done["status"]) == (str(folder), 4, "finished")
    again = rayl2o("train", "--resume", folder, "--json").json
    assert set(again) == CONTRACT
    assert (again["phi_sha256"], again["updates"]) == (done["phi_sha256"], 4)


def test_options_and_overrides_may_stand_in_any_order(tmp_path: Path) -> None:
    one = rayl2o("train", "--out", tmp_path / "a", "quickstart", "--json", *TINY, "updates=2").json
    two = rayl2o("train", "quickstart", *TINY, "--json", "updates=2", "--out", tmp_path / "b").json
    assert one["phi_sha256"] == two["phi_sha256"]


def test_runs_are_numbered_when_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [_train("updates=1")["run"] for _ in range(2)] == ["runs/quickstart-1", "runs/quickstart-2"]


def test_a_file_trains_as_a_preset_does(tmp_path: Path) -> None:
    _train("updates=2", "--out", tmp_path / "a")
    again = rayl2o("train", tmp_path / "a" / "config.yaml", "--out", tmp_path / "b", "--json").json
    assert again["phi_sha256"] == rayl2o("train", "--resume", tmp_path / "a", "--json").json["phi_sha256"]


def test_people_see_progress_and_what_to_do_next(tmp_path: Path) -> None:
    said = rayl2o("train", "quickstart", *TINY, "updates=10", "--out", tmp_path / "run")
    assert said.code == 0
    assert "round 10/10" in said.err
    assert "horizon" in said.err
    assert "rayl2o evaluate" in said.out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "nothing to train"),
        (("updates=3",), "comes first"),
        (("quickstart", "--resume", "x"), "leave out"),
        (("--resume", "x", "--out", "y"), "leave out"),
        (("--resume", "x"), "no run"),
        (("quickstart", "--runtime", "ray"), "runtime"),
        (("quickstart", "updates"), "key=value"),
    ],
)
def test_what_cannot_be_trained(
    args: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(rayl2o("train", *args, "--json"), says)
    assert list(tmp_path.iterdir()) == []


def test_a_used_folder_is_left_alone(tmp_path: Path) -> None:
    _train("updates=1", "--out", tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    refused(rayl2o("train", "quickstart", *TINY, "--out", tmp_path / "run", "--json"), "holds a run already")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
