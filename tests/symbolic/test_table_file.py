"""A table as Parquet: reads back equal, names its columns, refuses what is not one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayl2o.errors import UserError
from rayl2o.rules.operands import Ema, Lag, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.columns_file import read_columns
from rayl2o.symbolic.table import Table, make_table
from rayl2o.symbolic.table_file import PLACES, column_name, read_table, write_table
from tests.symbolic.recorded import recorded

OPERANDS = (Signal("g"), Ema("g", 0.95), Lag("q", 3), Signal("t"))


@pytest.fixture(scope="module")
def table() -> Table:
    return make_table(recorded(SymbolicRule.from_formula("-0.1*g - 0.2*ema(g, 0.9)")), OPERANDS, rows=200)


def test_reads_back_equal(table: Table, tmp_path: Path) -> None:
    back = read_table(write_table(tmp_path / "train.parquet", table))
    for field in fields(Table):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(table, field.name), err_msg=field.name)


def test_a_users_regression_can_read_it(table: Table, tmp_path: Path) -> None:
    path = write_table(tmp_path / "train.parquet", table)
    columns = read_columns(path, "delta", PLACES)
    assert columns.names == ("g", "ema_g_0_95", "lag_q_3", "t")
    np.testing.assert_array_equal(columns.y, table.y)
    with pytest.raises(UserError, match="did you mean 'layer'"):
        read_columns(path, "delta", ("layr",))


def test_names_of_columns_differ_and_may_stand_in_formulas() -> None:
    names = [column_name(o) for o in (*OPERANDS, Ema("g", 0.5), Ema("g", 1e-05), Lag("g", 1))]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def _spoilt(table: Table, path: Path, change: dict[str, Any], columns: dict[str, Any]) -> Path:
    whole = pq.read_table(write_table(path, table))
    about = json.loads(whole.schema.metadata[b"rayl2o.table"]) | change
    for name, values in columns.items():
        whole = whole.set_column(whole.column_names.index(name), name, pa.array(values))
    pq.write_table(whole.replace_schema_metadata({b"rayl2o.table": json.dumps(about).encode()}), path)
    return path


@pytest.mark.parametrize(
    ("change", "columns", "says"),
    [
        ({"version": 2}, {}, "unknown version"),
        ({"operands": [{"signal": "gg"}]}, {}, "signal"),
        ({"operands": [{"signal": "g", "ema": 0.7}]}, {}, "no regression table"),
        ({"operands": []}, {}, "no regression table"),
        ({"operands": "os.system('x')"}, {}, "not a node of a formula"),
        ({"x_scale": [1.0]}, {}, "a scale too few"),
        ({"y_scale": 0.0}, {}, "a scale is 0.0"),
        ({"y_limit": "big"}, {}, "a scale is 'big'"),
        ({}, {"g": [float("nan")] * 200}, "not finite"),
        ({}, {"tensor": [7] * 200}, "names a tensor"),
        ({}, {"step": ["one"] * 200}, "no regression table"),
    ],
)
def test_nonsense_is_refused(table: Table, tmp_path: Path, change: Any, columns: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_table(_spoilt(table, tmp_path / "bad.parquet", change, columns))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    pq.write_table(pa.table({"a": [1.0]}), tmp_path / "plain.parquet")
    for name in ("gone", "text", "plain"):
        with pytest.raises(UserError, match="is no regression table"):
            read_table(tmp_path / f"{name}.parquet")
