"""Report data: what runs and tuned baselines become."""

from __future__ import annotations

import numpy as np

from rayl2o.evaluate.report_data import baseline, panels, short
from rayl2o.evaluate.tuning import Draw, Tuned
from rayl2o.rules.classic import Sgd
from tests.evaluate.examples import runs_of


def _tuned(extended: int, on_edge: tuple[str, ...], status: str) -> Tuned:
    draws = tuple(Draw({"lr": 0.1 * i}, 0.1, 50 if i < 2 else 5, "ok") for i in range(1, 6))
    ranges = {"lr": (1e-3, 10.0), "momentum": (0.0, 0.99)}
    return Tuned(
        "momentum", "t", Sgd(0.1), "momentum:lr=0.1", {"lr": 0.1}, 0.1, status, draws, ranges, extended, on_edge, (1,), 50, 70
    )  # fmt: skip


def test_a_panel_per_task_in_order() -> None:
    found = panels(runs_of(), {"mlp-relu": "words"}, ["mlp-orig"])
    assert [(p.task, p.description, p.trained_on) for p in found] == [
        ("mlp-orig", "", True),
        ("mlp-relu", "words", False),
    ]
    assert [c.label for c in found[0].curves] == [r.rule for r in runs_of() if r.task == "mlp-orig"]
    np.testing.assert_array_equal(found[1].curves[0].loss, runs_of()[4].curves.loss)


def test_a_baseline_says_how_it_was_found() -> None:
    found = baseline(_tuned(0, (), "ok"))
    assert (found.setting, found.draws, found.score) == ("momentum:lr=0.1", 5, 0.1)
    assert found.ranges == "lr 0.001 to 10, momentum 0 to 0.99"
    assert found.note.startswith("1 of 5 draws ran to the end")
    assert "edge" not in found.note
    assert "diverged" not in found.note


def test_a_baseline_admits_its_weaknesses() -> None:
    note = baseline(_tuned(2, ("lr",), "diverged")).note
    assert "ranges grown 2x" in note
    assert "still at the edge of lr" in note
    assert "the winner diverged" in note


def test_short_names() -> None:
    assert short("adam:lr=0.1,beta1=0.9") == "adam"
    assert short("formula (tuned)") == "formula (tuned)"
