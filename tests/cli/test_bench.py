from __future__ import annotations

import sys
from types import ModuleType

import pytest

from rayl2o.benchmark import BENCHMARKS, Row
from tests.cli.command import rayl2o, refused


def test_the_contract_of_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("rayl2o.benchmark")
    rows = [Row("rtg", 120.0, "inner steps/s", 4.5, "autograd"), Row("cosine", float("nan"), "cosine")]
    stand_in.BENCHMARKS = {"quick": lambda: rows}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rayl2o.benchmark", stand_in)
    data = rayl2o("bench", "quick", "--json").json
    assert data["rows"] == [
        {"name": "rtg", "value": 120.0, "unit": "inner steps/s", "ratio": 4.5, "against": "autograd"},
        {"name": "cosine", "value": None, "unit": "cosine", "ratio": None, "against": None},
    ]
    said = rayl2o("bench", "quick")
    assert said.code == 0
    assert "autograd" in said.out


def test_the_published_benchmarks_are_there() -> None:
    assert {"meta-gradient", "segment"} <= set(BENCHMARKS)
    refused(rayl2o("bench", "segments", "--json"), "did you mean 'segment'")
