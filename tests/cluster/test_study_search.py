from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayl2o.cluster import study_search
from rayl2o.cluster.study_base import SearchConfig
from rayl2o.cluster.study_config import BaselineStudy
from rayl2o.cluster.study_records import Record
from rayl2o.cluster.study_search import StudyAsha, StudySearch

STUDY = BaselineStudy(tasks=("quadratic",), optimizers=("adam", "sgd"), draws=2, horizon=9)


def drain(search: StudySearch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while (one := search.suggest(f"t{len(found)}")) is not None:
        found.append(one)
    return found


def test_cells_take_turns_and_get_equal_shares() -> None:
    search = StudySearch(STUDY, [])
    assert search.remaining == 4
    order = drain(search)
    assert [(one["cell"], one["ordinal"]) for one in order] == [
        ("quadratic-adam", 0), ("quadratic-sgd", 0), ("quadratic-adam", 1), ("quadratic-sgd", 1),
    ]  # fmt: skip
    assert search.remaining == 0
    for one in order:
        cell = next(cell for cell in STUDY.cells() if cell.name == one["cell"])
        assert one["point"] == cell.points(2)[one["ordinal"]]
        assert one["setting"] == {name: cell.dimensions[name].at(u) for name, u in one["point"].items()}


def test_trials_that_are_over_are_not_made_again() -> None:
    whole = drain(StudySearch(STUDY, []))
    done = [Record("quadratic-sgd", 0, {}, {}, "ok", 9, 1.0), Record("quadratic-adam", 1, {}, {}, "pruned", 3, 1.0)]
    assert drain(StudySearch(STUDY, done)) == [whole[0], whole[3]]


class Model:
    """Stands in for Optuna's searcher."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any, bool]] = []

    def suggest(self, trial_id: str) -> dict[str, float]:
        return {"lr": 0.5, "beta1": 0.5, "beta2": 0.5}

    def on_trial_complete(self, trial_id: str, result: Any, error: bool) -> None:
        self.heard.append((trial_id, result, error))


def test_a_model_per_cell_hears_of_its_own_trials_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models: dict[str, Model] = {}
    seen: dict[str, list[Record]] = {}

    def build(cell: Any, found: list[Record]) -> Model:
        seen[cell.name] = list(found)
        return models.setdefault(cell.name, Model())

    monkeypatch.setattr(study_search, "_tpe", build)
    done = Record("quadratic-sgd", 0, {"lr": 0.1}, {"lr": 1.0}, "ok", 9, 1.0)
    search = StudySearch(replace(STUDY, search=SearchConfig("optuna")), [done])
    assert seen == {"quadratic-adam": [], "quadratic-sgd": [done]}
    assert len(drain(search)) == 3
    ok, bad = {"score": 1.0, "status": "ok"}, {"score": float("inf"), "status": "timeout"}
    search.on_trial_complete("t0", ok)
    search.on_trial_complete("t1", bad)
    search.on_trial_complete("t2", None, error=True)
    assert models["quadratic-adam"].heard == [("t0", ok, False), ("t1", None, True)]
    assert models["quadratic-sgd"].heard == [("t2", None, True)]
    search.save(str(tmp_path / "state"))


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs optuna")
def test_optuna_suggests_points_of_the_space() -> None:
    done = Record("quadratic-sgd", 0, {"lr": 0.1}, {"lr": 1.0}, "ok", 9, 1.0)
    for one in drain(StudySearch(replace(STUDY, search=SearchConfig("optuna")), [done])):
        assert all(0 <= u <= 1 for u in one["point"].values())


def trial(name: str, cell: str) -> Any:
    return SimpleNamespace(trial_id=name, config={"cell": cell})


def tell(asha: StudyAsha, name: str, cell: str, score: float) -> str:
    one = trial(name, cell)
    asha.on_trial_add(None, one)
    return asha.on_trial_result(None, one, {"steps": 3, "score": score, "status": "ok"})


def test_trials_are_stopped_by_trials_of_their_own_cell_only() -> None:
    asha = StudyAsha(STUDY.cells(), SearchConfig("asha", grace=3), 9, [])
    assert tell(asha, "a", "quadratic-adam", 1.0) == "CONTINUE"
    assert tell(asha, "b", "quadratic-sgd", 50.0) == "CONTINUE"
    assert tell(asha, "c", "quadratic-adam", 2.0) == "STOP"
    assert tell(asha, "d", "quadratic-sgd", 20.0) == "CONTINUE"


def test_a_resumed_study_knows_the_trials_before() -> None:
    past = Record("quadratic-adam", 0, {}, {}, "pruned", 3, 1.0, reports=((3, 1.0),))
    asha = StudyAsha(STUDY.cells(), SearchConfig("asha", grace=3), 9, [past])
    assert tell(asha, "c", "quadratic-adam", 2.0) == "STOP"
    assert tell(asha, "b", "quadratic-sgd", 2.0) == "CONTINUE"
