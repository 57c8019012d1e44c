"""The shipped studies are valid, and say what each of their keys means."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy, read
from rayl2o.cluster.study_space import USUAL

SHIPPED = sorted((Path(__file__).parent.parent / "tune_configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_can_begin(path: Path) -> None:
    study = read(str(path))
    study.check()
    assert study.cells()
    assert path.read_text().startswith("# ")


def test_the_baselines_keep_the_protocol() -> None:
    study = read(str(next(path for path in SHIPPED if path.stem == "baselines_mlp")))
    assert isinstance(study, BaselineStudy)
    assert set(study.optimizers) == set(USUAL)
    assert study.draws >= 40
    assert len(study.tuning_seeds) == 3
    assert len(study.scoring_seeds) >= 10


def test_a_training_study_is_shipped() -> None:
    assert any(isinstance(read(str(path)), TrainingStudy) for path in SHIPPED)
