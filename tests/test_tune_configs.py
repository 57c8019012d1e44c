"""The shipped studies are valid, and say what each of their keys means."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy, read
from rayl2o.cluster.study_space import USUAL
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.errors import UserError
from rayl2o.symbolic.engines.registry import ENGINES, is_available
from tests.cluster.engine_study import published

SHIPPED = sorted((Path(__file__).parent.parent / "tune_configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_can_begin(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the data and libraries that it names; without the libraries it says which."""
    study = read(str(path))
    if isinstance(study, SymbolicStudy):
        published(tmp_path / study.rule)
        monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
        if not is_available(study.engine):
            with pytest.raises(UserError, match="it needs: ") as refusal:
                study.check()
            assert ENGINES[study.engine].needs in str(refusal.value)
            assert ENGINES[study.engine].needs.split(":")[-1] in path.read_text()
            return
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


def test_engines_are_tuned_on_other_fits_than_they_are_scored_on() -> None:
    studies = [read(str(path)) for path in SHIPPED if path.stem.startswith("sr_")]
    engines = [study.engine for study in studies if isinstance(study, SymbolicStudy)]
    assert engines == ["evolved", "operon", "pysr"]
    for study in studies:
        assert isinstance(study, SymbolicStudy)
        assert study.search.kind == "asha"
        assert len(study.scoring_seeds) >= 10
        assert not set(study.tuning_fits) & set(study.scoring_fits)
