"""The benchmarks of estimators and of the full unroll run and are about what they name; no time is asserted."""

from __future__ import annotations

import math

import pytest
import torch

from rayl2o.benchmark import BENCHMARKS, Row, compiling, estimators, full_unroll

SMALL = {"REPEATS": 1, "DRAWS": 3, "PARTICLES": 4, "STEPS": 5, "AT_STEP": 5}


def _rows(name: str) -> dict[str, Row]:
    rows = BENCHMARKS[name]()
    assert len({row.name for row in rows}) == len(rows)
    assert all(math.isfinite(row.value) for row in rows)
    assert all((row.ratio is None) == (row.against is None) for row in rows)
    return {row.name: row for row in rows}


def test_estimators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    for name, value in {**SMALL, "FEW": (1,), "MANY": (4,)}.items():
        monkeypatch.setattr(estimators, name, value)
    rows = _rows("estimators")
    for stand in ("dm, mlp-orig digits, K = 1", "mlp, mlp-orig digits, K = 1", "gru-32, quadratic-10, K = 4"):
        assert {f"{stand}: {name}" for name in ("autograd exact", "rtg exact 100 %", "es", "pes")} <= set(rows)
    cosines = [row.value for row in rows.values() if row.unit == "cosine"]
    assert len(cosines) == 2 * 2 * 2  # dm and rnnprop, two credits, two fractions
    assert all(-1.0 <= value <= 1.0 for value in cosines)
    assert not any("mlp, mlp-orig" in row.name and "10 %" in row.name for row in rows.values())


def test_full_unroll(monkeypatch: pytest.MonkeyPatch) -> None:
    def inline(workers: int) -> object:
        assert workers == 1
        return map

    monkeypatch.setattr(full_unroll, "process_map", inline)
    monkeypatch.setattr(full_unroll, "STEPS", 12)
    monkeypatch.setattr(full_unroll, "HIDDEN", 6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(full_unroll, "CASES", (full_unroll.Case("rosenbrock", 3, "cpu"),))
    rows = _rows("full-unroll")
    assert [row.unit for row in rows.values()] == ["s", "s", "GiB"]


def test_the_graph_of_a_full_unroll_grows_with_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []
    for steps in (10, 20):
        monkeypatch.setattr(full_unroll, "STEPS", steps)
        monkeypatch.setattr(full_unroll, "HIDDEN", 4)
        graphs.append(full_unroll.measure(full_unroll.Case("quadratic", 2, "cpu")).graph)
    assert 1.6 < graphs[1] / graphs[0] < 2.1


def test_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SIZES": (30,), "BACKEND": "aot_eager", "REPEATS": 1}.items():
        monkeypatch.setattr(compiling, name, value)
    rows = _rows("compile")
    assert len([row for row in rows.values() if row.against == "plain"]) == 5
