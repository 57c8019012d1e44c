from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from rayl2o.cli.tune_view import study_progress, study_view
from rayl2o.cluster.study import StudyProgress, StudyResult
from rayl2o.cluster.study_best import Best
from rayl2o.cluster.study_config import BaselineStudy
from rayl2o.cluster.study_records import Record
from rayl2o.cluster.symbolic_scoring import FitScore, comparison
from rayl2o.evaluate.statistics import Interval
from tests.cluster.engine_study import small

FAILED = Record("t-sgd", 3, {}, {"lr": 1.0}, "memory", 0, None, error="used up [memory_mb]=5")


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, highlight=False)


def text(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def test_without_a_terminal_there_are_few_lines_and_every_failure() -> None:
    shown = console(terminal=False)
    with study_progress(shown) as follow:
        for done in range(1, 201):
            follow(StudyProgress(200, done, 0, 1, {"t-sgd": 0.25}))
            follow(StudyProgress(200, done, 0, 1, {"t-sgd": 0.25}, Record("t-sgd", done, {}, {}, "ok", 9, 0.3)))
        follow(StudyProgress(200, 200, 1, 0, {}, FAILED))
        follow(StudyProgress(200, 200, 1, 0, {}, doing="scoring tuned on fit 100"))
    lines = text(shown).splitlines()
    assert len(lines) <= 24
    assert lines[-1] == "scoring tuned on fit 100"
    assert "trial 10/200  1 at work  best 0.25 (t-sgd)" in lines
    assert "t-sgd-0003 failed (memory): used up [memory_mb]=5" in lines


def test_a_terminal_has_one_live_line() -> None:
    shown = console(terminal=True)
    with study_progress(shown) as follow:
        follow(StudyProgress(4, 3, 1, 1, {"a": 2.0, "b": 1.0}))
    assert "3/4" in text(shown)
    assert "1 at work  1 failed  best 1 (b)" in text(shown)


def test_the_winners_are_shown_best_first_with_what_to_doubt() -> None:
    def best(optimizer: str, mean: float | None, edge: tuple[str, ...] = (), failed: int = 0) -> Best:
        scored = None if mean is None else Interval(mean, mean - 0.01, mean + 0.01)
        return Best("t", optimizer, {"lr": 0.1}, f"{optimizer}:lr=0.1", "x", mean, scored, 0, edge, 5, 2, failed)

    found = (best("sgd", 0.5, ("lr",)), best("adam", 0.2), best("momentum", None, failed=5))
    done = StudyResult(Path("out"), BaselineStudy(task_settings={"data": "digits"}), (FAILED,), found, 1.0)
    shown = console(terminal=False)
    for item in study_view(done):
        shown.print(item)
    said = text(shown)
    assert said.index("adam") < said.index("sgd") < said.index("momentum")
    for part in ("lr at the edge of its range", "no trial finished", "failed: t-sgd-0003 (memory)", "0.19 to 0.21"):
        assert part in said
    assert "rayl2o evaluate adam:lr=0.1 --task t --data digits" in said


def test_an_engines_rivals_are_shown_with_their_spread_and_the_verdict(tmp_path: Path) -> None:
    def fit(seed: int, r2: float, diverged: int = 0) -> FitScore:
        return FitScore(seed, "g", 20 + seed % 100, 2, r2, (0.5, 0.7), diverged, 1.25)

    study = small(tmp_path, metric="r2")
    rivals = [fit(100, 0.6), fit(101, 0.7)]
    fits = {
        "tuned": [fit(100, 0.8), fit(101, 0.9, 1)],
        "default": rivals,
        "linear": [FitScore(100, error="x"), rivals[0]],
    }
    compared = comparison(study, fits)
    setting = {"engine.population": 8}
    best = Best("quadratic", "evolved", setting, "", "x", 0.1, compared["tuned"].metric, 1, (), 3, 1, 0, compared)
    shown = console(terminal=False)
    for item in study_view(StudyResult(Path("out"), study, (), (best,), 1.0)):
        shown.print(item)
    said = text(shown)
    for part in ("0.1 to 0.2", "0.8 to 0.9", "20 to 21", "1.25", "1 of 4", "-0.2", "better than the default"):
        assert part in said, part
    assert "rayl2o distill out/rule.json --engine out/best.yaml --task quadratic --set size=4" in said.replace(
        "\n", " "
    )
