"""What several verbs are tested on, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import rayl2o


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a small softmax regression that is trained just enough to descend, with its segments kept."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    overrides = (
        "task={name: mlp, settings: {hidden: [], batch_size: 32}}",
        "updates=40",
        "instances=2",
        "unroll.coords_per_row=100",
        "curriculum.n_train=[40]",
        "learner.rtg.lr=0.01",
        "output.segments=true",
    )
    assert rayl2o("train", "quickstart", *overrides, "--out", folder, "--json").json["status"] == "finished"
    return folder


@pytest.fixture(scope="session")
def distilled(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``distill`` makes of the run."""
    folder = tmp_path_factory.mktemp("distilled") / "formula"
    said = rayl2o("distill", run, "--horizon", "40", "--updates", "4", "--engine", "linear", "--out", folder, "--json")
    assert said.code == 0, said.err
    return folder
