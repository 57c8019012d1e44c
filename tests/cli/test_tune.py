from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cluster.study_config import BaselineStudy
from rayl2o.cluster.study_records import TRIALS, Record, create, keep
from rayl2o.symbolic.engines.registry import resolve
from tests.cli.command import rayl2o, refused
from tests.cluster.engine_study import small

STUDY = BaselineStudy(
    tasks=("quadratic",), task_settings={"size": 3}, optimizers=("sgd", "adagrad"), draws=2, horizon=15
)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A study whose trials are all over, so that a resume needs no Ray."""
    out = tmp_path / "out"
    create(STUDY, out)
    for ordinal, lr in enumerate((0.002, 0.001)):
        keep(out, Record("quadratic-sgd", ordinal, {}, {"lr": lr}, "ok", 15, 3.0 - ordinal))
    keep(out, Record("quadratic-adagrad", 0, {}, {"lr": 1.0}, "ok", 15, 4.0))
    keep(out, Record("quadratic-adagrad", 1, {}, {"lr": 2.0}, "pruned", 5, 9.0))
    return out


def test_a_finished_study_is_told_again(finished: Path) -> None:
    said = rayl2o("tune", "--resume", finished)
    assert said.code == 0, said.err
    for text in ("adagrad", "lr at the edge of its range", "1 stopped early", "results.parquet", "--set size=3"):
        assert text in said.out
    data = rayl2o("tune", "--resume", finished, "--json").json
    assert set(data) == {"study", "kind", "trials", "errors", "best", "results"}
    assert (data["study"], data["trials"], data["errors"]) == (str(finished), 4, 0)
    assert [one["rule"] for one in data["best"]] == ["sgd:lr=0.001", "adagrad:lr=1"]
    assert data["best"][0]["on_edge"] == ["lr"]


def test_a_damaged_record_is_one_line(finished: Path) -> None:
    (finished / TRIALS / "quadratic-sgd-0001.json").write_text("{")
    refused(rayl2o("tune", "--resume", finished), "damaged", "quadratic-sgd-0001", "delete the file")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "nothing to tune"),
        (("none.yaml",), "cannot be read"),
        (("a.yaml", "--resume", "b"), "leave out file"),
        (("--resume", "none"), "holds no study"),
        (("a.yaml", "--runtime", "inline"), "unknown runtime"),
        (("a.yaml", "--runtime", "cluster"), "a cluster needs an address"),
        (("a.yaml", "--address", "auto"), "an address is for --runtime cluster"),
    ],
)
def test_mistakes_are_one_line(args: tuple[str, ...], says: str) -> None:
    refused(rayl2o("tune", *args), says)


def test_a_mistake_in_the_study_is_found_before_ray_starts(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("kind: baselines\ntasks: [mlp-orig]\noptimizer: adam\n")
    refused(rayl2o("tune", file), "did you mean 'optimizers'")
    file.write_text("kind: baselines\n")
    refused(rayl2o("tune", file, "draws=0"), "draws must be at least 1")
    refused(rayl2o("tune", file, "draws"), "key=value")


def test_a_study_of_an_engine_shows_the_rivals_and_is_a_preset(tmp_path: Path) -> None:
    study, out = small(tmp_path, metric="r2"), tmp_path / "out"
    create(study, out)
    setting = {"engine.population": 8, "operands.betas": [0.8]}
    found = {"formula": "g", "nodes": 1, "buffers": 0, "r2_val": 0.9, "cpu_s": 0.5}
    keep(out, Record("symbolic", 0, {}, setting, "ok", 3, 0.1, found=found))
    keep(out, Record("symbolic", 1, {}, {**setting, "engine.population": 9}, "pruned", 1, 0.3, found=found))
    keep(out, Record("symbolic", 2, {}, {**setting, "engine.population": 20}, "ok", 3, 0.2, found=found))
    said = rayl2o("tune", "--resume", out)
    assert said.code == 0, said.err
    for text in ("1 - R2", "tuned", "default", "linear", "1 stopped early", "--set size=4", "rayl2o distill"):
        assert text in said.out.replace("\n", " "), text
    data = rayl2o("tune", "--resume", out, "--json").json
    assert [one["name"] for one in data["best"][0]["compared"]["standings"]] == [
        "tuned",
        "operands",
        "default",
        "linear",
    ]
    assert resolve(str(out / "best.yaml")).settings["population"] == 8
