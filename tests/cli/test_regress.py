from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.command import rayl2o, refused


def _table(path: Path, **more: object) -> Path:
    draws = np.random.default_rng(5)
    x, z = draws.normal(size=(2, 200))
    pq.write_table(pa.table({"x": x, "z": z, "y": 2.5 * x - 0.5 * z, **more}), path)
    return path


def test_the_contract(tmp_path: Path) -> None:
    table, test = _table(tmp_path / "a.parquet"), _table(tmp_path / "b.parquet")
    said = rayl2o("regress", table, "--target", "y", "--test", test, "--engine", "linear", "--json").json
    assert set(said) == {"front", "recommended", "cpu_s"}
    assert all(set(one) == {"complexity", "mse_train", "mse_test", "r2", "formula", "stable"} for one in said["front"])
    best = said["front"][said["recommended"]]
    assert best["mse_test"] < 1e-6
    assert best["formula"].startswith("2.5*x")
    shown = rayl2o("regress", table, "--target", "y", "--engine", "linear")
    assert "recommended" in shown.out


@pytest.mark.parametrize(
    ("more", "args", "says"),
    [
        ({}, ("--target", "yy"), "did you mean 'y'"),
        ({}, ("--target", "y", "--engine", "evolvd"), "did you mean 'evolved'"),
        ({"name": ["a"] * 200}, ("--target", "y"), "'name' is no number"),
        ({"hole": [None] * 200}, ("--target", "y"), "no number"),
        ({"hole": [None, *([1.0] * 199)]}, ("--target", "y"), "nulls"),
        ({}, ("--target", "y", "--cpu-s", "0"), "must be positive"),
        ({}, ("--target", "y", "--test", "missing.parquet"), "cannot be read"),
    ],
)
def test_mistakes(tmp_path: Path, more: dict[str, object], args: tuple[str, ...], says: str) -> None:
    refused(rayl2o("regress", _table(tmp_path / "a.parquet", **more), *args), says)
