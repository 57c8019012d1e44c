"""A regression table as Parquet: one column per operand, the answer, where each row is from; the schema says the rest."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayl2o.checkpoint import replace_file
from rayl2o.errors import UserError
from rayl2o.rules.nodes import operand_from_json, operand_to_json
from rayl2o.rules.operands import Ema, Lag, Operand
from rayl2o.symbolic.table import Floats, Integers, Table

SCHEMA_VERSION = 1
TARGET = "delta"
PLACES = ("run", "tensor", "layer", "step", "period")
"""Where a row is from; ``tensor`` by number (names are in the schema), ``period`` 0 early and 1 late."""
MAX_ROWS = 1_000_000
_KEY = b"rayl2o.table"
_MEND = "give a table that 'rayl2o distill --tables' wrote"


def column_name(operand: Operand) -> str:
    """A name that formulas over columns may use: ``g``, ``lag_g_3``, ``ema_g_0_95``."""
    if isinstance(operand, Lag):
        return f"lag_{operand.signal}_{operand.lag}"
    if isinstance(operand, Ema):
        return f"ema_{operand.signal}_{operand.beta!r}".replace(".", "_").replace("-", "m").replace("+", "")
    return str(operand)


def write_table(path: Path, table: Table) -> Path:
    """Writes the file as a whole or not at all."""
    columns: dict[str, Any] = {column_name(o): table.x[:, i] for i, o in enumerate(table.operands)}
    columns |= {TARGET: table.y} | {name: getattr(table, name) for name in PLACES}
    about = {
        "version": SCHEMA_VERSION,
        "operands": [operand_to_json(operand) for operand in table.operands],
        "x_scale": table.x_scale.tolist(),
        "y_scale": table.y_scale,
        "y_limit": table.y_limit,
        "tensors": list(table.tensors),
    }
    whole = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(about).encode()})
    return replace_file(path, lambda file: pq.write_table(whole, file, compression="zstd"))


def read_table(path: Path) -> Table:
    """Inverse of :func:`write_table`.

    Raises:
        UserError: If the file cannot be read, is not such a table, has more than a million rows, or holds what is not finite.
    """
    try:
        file = pq.ParquetFile(path)
        rows, metadata = file.metadata.num_rows, file.schema_arrow.metadata or {}
        if rows > MAX_ROWS:
            raise UserError(f"{path} has too many rows", value=rows, mend=f"give at most {MAX_ROWS:,}")
        whole = file.read()
        about = json.loads(metadata[_KEY])
        version = about["version"]
        if version != SCHEMA_VERSION:
            raise UserError("unknown version of a table", value=version, mend=f"this release reads {SCHEMA_VERSION}")
        operands = tuple(operand_from_json(item) for item in about["operands"])
        x = np.stack([_floats(whole, column_name(operand)) for operand in operands], axis=1)
        places = {name: _integers(whole, name) for name in PLACES}
        found = Table(
            operands=operands,
            x=x,
            y=_floats(whole, TARGET),
            x_scale=np.array([_positive(value) for value in about["x_scale"]]),
            y_scale=_positive(about["y_scale"]),
            y_limit=_positive(about["y_limit"]),
            tensors=tuple(str(name) for name in about["tensors"]),
            **places,
        )
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no regression table ({what})", value=str(path), mend=_MEND) from error
    if len(found.x_scale) != len(operands) or not (np.isfinite(found.x).all() and np.isfinite(found.y).all()):
        raise UserError(f"{path} holds what is not finite, or a scale too few", value=str(path), mend=_MEND)
    inside = (found.tensor >= 0) & (found.tensor < len(found.tensors))
    if not inside.all():
        raise UserError(f"{path} names a tensor that it does not list", value=int(found.tensor[~inside][0]), mend=_MEND)
    return found


def _floats(whole: pa.Table, name: str) -> Floats:
    values: Floats = whole.column(name).cast(pa.float64()).to_numpy()
    return values


def _integers(whole: pa.Table, name: str) -> Integers:
    values: Integers = whole.column(name).cast(pa.int64()).to_numpy()
    return values


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"a scale is {value!r}")
    return float(value)
