"""A user's Parquet table as columns of numbers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayl2o.errors import UserError, unknown_name
from rayl2o.symbolic.regress import Columns

MAX_ROWS = 1_000_000


def read_columns(path: Path, target: str, without: Collection[str] = ()) -> Columns:
    """All columns but the target and those named in ``without`` as inputs, float64.

    Raises:
        UserError: If the file cannot be read as Parquet, has no such target, a column is no number or has nulls, or there
            are more than a million rows.
    """
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > MAX_ROWS:
            raise UserError(
                f"{path} has too many rows", value=file.metadata.num_rows, mend=f"give at most {MAX_ROWS:,}"
            )
        table = file.read()
    except (OSError, pa.ArrowException) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} cannot be read as Parquet ({what})", value=str(path), mend="give a .parquet file"
        ) from error
    if target not in table.column_names:
        raise unknown_name("target column", target, table.column_names)
    if len(set(table.column_names)) != len(table.column_names):
        raise UserError(f"{path} names a column twice", value=table.column_names, mend="rename one")
    for name in without:
        if name not in table.column_names:
            raise unknown_name("column to leave out", name, table.column_names)
    inputs = tuple(name for name in table.column_names if name != target and name not in without)
    if not inputs:
        raise UserError(f"{path} has no column beside the target", value=target, mend="give inputs too")
    return Columns(inputs, np.stack([_numbers(table, name) for name in inputs], axis=1), _numbers(table, target))


def _numbers(table: pa.Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    column = table.column(name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise UserError(
            f"column {name!r} is no number", value=str(column.type), mend="drop it, or encode it as numbers"
        )
    if column.null_count:
        raise UserError(f"column {name!r} holds nulls", value=column.null_count, mend="clean or drop these rows")
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = column.cast(pa.float64()).to_numpy()
    return values
