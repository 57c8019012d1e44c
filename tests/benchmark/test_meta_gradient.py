"""Benchmarks measure what they name; no time is asserted, only what cannot depend on the clock."""

from __future__ import annotations

import math

import pytest

from rayl2o.benchmark import BENCHMARKS, Row, meta_gradient
from rayl2o.benchmark import row as rows_of


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)  # fresh weights on digits: small
    monkeypatch.setattr(rows_of, "REPEATS", 1)
    monkeypatch.setattr(meta_gradient, "AT_STEP", 20)


def _rows(name: str) -> dict[str, Row]:
    rows = BENCHMARKS[name]()
    assert len({row.name for row in rows}) == len(rows)
    assert all(math.isfinite(row.value) for row in rows)
    assert all((row.ratio is None) == (row.against is None) for row in rows)
    return {row.name: row for row in rows}


def test_meta_gradient() -> None:
    rows = _rows("meta-gradient")
    for kind in ("dm", "rnnprop"):
        cosines = {name: row.value for name, row in rows.items() if name.startswith(kind) and row.unit == "cosine"}
        exact = next(value for name, value in cosines.items() if "rtg exact 100 %" in name)
        assert exact == pytest.approx(1.0, abs=1e-4)
        first = [value for name, value in cosines.items() if "first order" in name and "10 %" not in name]
        assert len(first) == 2
        assert first[0] == pytest.approx(first[1], abs=1e-3)


def test_segment() -> None:
    rows = _rows("segment")
    ratios = [row.ratio for row in rows.values() if row.ratio is not None]
    assert len(ratios) == 2
    assert all(8 < ratio < 11 for ratio in ratios)


def test_first_order_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_gradient, "GAP_STEPS", (0,))
    monkeypatch.setattr(meta_gradient, "GAP_UNROLLS", (1, 3))
    monkeypatch.setattr(meta_gradient, "GAP_SEEDS", 1)
    rows = _rows("first-order-gap")
    for name, row in rows.items():
        if "U = 1," in name:  # nothing follows the only step: first order is exact
            assert row.value == pytest.approx(1.0, abs=1e-12)
        else:
            assert -1.0 <= row.value < 1.0 - 1e-9
