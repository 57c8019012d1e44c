"""The columns of a segment as Arrow: the only place a column is named. One row per instance and segment, float32 on file.

What has a length of U alone is a ``fixed_size_list``; what depends on C or on the task is a ``large_list``, so that segments of
families of any size stand in one table: only U and the rule's state sizes must agree. Plain lists rather than Arrow's
``fixed_shape_tensor``: both are zero-copy to numpy from IPC and survive Parquet, but tensors of other shapes do not concatenate,
and tools that do not know the extension type read lists. The shape of a row stands in the field's metadata.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import pyarrow as pa

from rayl2o.errors import UserError
from rayl2o.unroll.segment import Provenance, Segment

SCHEMA_VERSION = 1
DTYPE = "float32"

SLOT, ORDINAL, SEGMENT, BEHAVIOUR = "slot", "ordinal", "segment", "behaviour"
SPEC, INSTANCE, INSTANCES, STATUS, VALID, TENSORS = "spec", "instance", "instances", "status", "valid", "tensors"

SOURCE: dict[str, pa.DataType] = {
    "run_id": pa.string(),
    "family": pa.string(),
    "seed": pa.int64(),
    SLOT: pa.int64(),
    ORDINAL: pa.int64(),
    SEGMENT: pa.int64(),
    "start_step": pa.int64(),
    "policy_version": pa.int64(),
    "worker": pa.int64(),
    "incarnation": pa.int64(),
    "attempt": pa.int64(),
    BEHAVIOUR: pa.string(),
}
"""Fields of Provenance, the same in all rows of a segment."""

ROW: dict[str, pa.DataType] = {
    SPEC: pa.string(),
    INSTANCE: pa.int32(),
    INSTANCES: pa.int32(),
    STATUS: pa.string(),
    VALID: pa.int32(),
}
"""Scalars of a row: its task spec (JSON), its number k and how many there are (K), its status, the steps that count."""

AXES = {
    "loss": "U+1",
    "actor": "U",
    "coords": "C",
    "weight": "C",
    "grad": "U,C",
    "credit": "U,C",
    "delta": "U,C",
    "coord_state": "C,S",
    "tensor_state": "T,S2",
    "global_state": "S3",
    "params": "D",
}
"""Columns of numbers, named as the fields of Segment, and the axes of a row."""

FIXED = {"loss": 1, "actor": 0}
"""Columns of fixed length, U plus this."""

VALUES = {"coords": pa.int32(), "actor": pa.int8()}
"""Types of numbers that are not float32."""

assert {field.name for field in fields(Provenance)} == SOURCE.keys() | {"specs"}

_PREFIX = "rayl2o."
_VERSION = f"{_PREFIX}schema_version"
_DTYPE = f"{_PREFIX}dtype"
_MEND = "write it again with this version of rayl2o"


@dataclass(frozen=True)
class Shape:
    """What segments must share to stand in one table.

    Attributes:
        steps: U, inner steps.
        coord_state: S, floats of state per coordinate; may be 0.
        tensor_state, global_state: S2 per tensor, S3 per instance; None if the rule has none.
        params: Whether the parameters at the first step are stored.
    """

    steps: int
    coord_state: int
    tensor_state: int | None
    global_state: int | None
    params: bool

    @classmethod
    def of(cls, segment: Segment) -> Shape:
        """The shape of a segment."""
        return cls(
            steps=segment.grad.shape[1],
            coord_state=segment.coord_state.shape[2],
            tensor_state=None if segment.tensor_state is None else segment.tensor_state.shape[2],
            global_state=None if segment.global_state is None else segment.global_state.shape[1],
            params=segment.params is not None,
        )

    @property
    def scalars(self) -> dict[str, pa.DataType]:
        """Type per column of one value a row; T, the number of tensors, only if there is state per tensor."""
        return SOURCE | ROW | ({} if self.tensor_state is None else {TENSORS: pa.int32()})

    def arrays(self, coords: int, tensors: int) -> dict[str, tuple[int, ...]]:
        """Shape of a row per column of numbers, given C and T; -1 for D. The names are those of Segment."""
        u, c = self.steps, coords
        found: dict[str, tuple[int, ...]] = {"loss": (u + 1,), "actor": (u,), "coords": (c,), "weight": (c,)}
        found |= {"grad": (u, c), "credit": (u, c), "delta": (u, c), "coord_state": (c, self.coord_state)}
        if self.tensor_state is not None:
            found["tensor_state"] = (tensors, self.tensor_state)
        if self.global_state is not None:
            found["global_state"] = (self.global_state,)
        if self.params:
            found["params"] = (-1,)
        return found

    def schema(self) -> pa.Schema:
        """The Arrow schema, this shape and the version in its metadata."""
        columns = [pa.field(name, kind, nullable=False) for name, kind in self.scalars.items()]
        for name in self.arrays(0, 0):
            item = pa.field("item", VALUES.get(name, pa.float32()), nullable=False)
            extra = FIXED.get(name)
            kind = pa.large_list(item) if extra is None else pa.list_(item, self.steps + extra)
            columns.append(pa.field(name, kind, nullable=False, metadata={"shape": AXES[name]}))
        metadata = {_VERSION: str(SCHEMA_VERSION), _DTYPE: DTYPE}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                metadata[_PREFIX + field.name] = str(int(value))
        return pa.schema(columns, metadata=metadata)


def read_shape(schema: pa.Schema, origin: str) -> Shape:
    """The shape that a schema declares, every column checked against it. Columns that are not ours are let be.

    Args:
        schema: Of a table or batch that claims to hold segments.
        origin: Where it comes from, to begin messages with.

    Raises:
        UserError: Another version, a missing column (with the near miss), a column of another type.
    """
    metadata = {
        key.decode(errors="replace"): text.decode(errors="replace") for key, text in (schema.metadata or {}).items()
    }
    names = _names(schema, origin)
    if _VERSION not in metadata:
        always = SOURCE.keys() | ROW.keys() | AXES.keys() - {"tensor_state", "global_state", "params"}
        missing = sorted(always - set(names))
        if missing and len(missing) < len(always):
            raise _lacks(missing[0], names, origin)
        raise UserError(f"{origin} holds no segments, its schema has no {_VERSION}", value=names, mend=_MEND)
    if metadata[_VERSION] != str(SCHEMA_VERSION):
        mend = f"this version of rayl2o reads version {SCHEMA_VERSION}; use the one that wrote it"
        raise UserError(f"unknown schema_version of {origin}", value=metadata[_VERSION], mend=mend)
    if metadata.get(_DTYPE) != DTYPE:
        raise UserError(
            f"unknown dtype of {origin}", value=metadata.get(_DTYPE), mend=f"{DTYPE} is the only one on file"
        )
    shape = Shape(
        steps=_count(metadata, "steps", origin, 1),
        coord_state=_count(metadata, "coord_state", origin, 0),
        tensor_state=_optional(metadata, "tensor_state", origin),
        global_state=_optional(metadata, "global_state", origin),
        params=_count(metadata, "params", origin, 0) > 0,
    )
    for field in shape.schema():
        _check_column(schema, field, origin)
    return shape


def _names(schema: pa.Schema, origin: str) -> list[str]:
    try:
        return list(schema.names)
    except UnicodeDecodeError as error:
        raise UserError(f"{origin} is damaged, a column's name is not text", value=error.object, mend=_MEND) from None


def _lacks(name: str, names: Sequence[str], origin: str) -> UserError:
    near = difflib.get_close_matches(name, set(names) - _OURS, n=1, cutoff=0.6)
    return UserError(f"{origin} lacks a column", value=name, mend=f"rename the column {near[0]!r}" if near else _MEND)


def _count(metadata: dict[str, str], name: str, origin: str, least: int) -> int:
    text = metadata.get(_PREFIX + name)
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
        raise UserError(f"metadata {_PREFIX}{name} of {origin} must be a count >= {least}", value=text, mend=_MEND)
    return int(text)


def _optional(metadata: dict[str, str], name: str, origin: str) -> int | None:
    return _count(metadata, name, origin, 0) if _PREFIX + name in metadata else None


def _check_column(schema: pa.Schema, wanted: pa.Field, origin: str) -> None:
    places = schema.get_all_field_indices(wanted.name)
    if not places:
        raise _lacks(wanted.name, schema.names, origin)
    if len(places) > 1:
        raise UserError(f"{origin} has a column {len(places)} times", value=wanted.name, mend=_MEND)
    kind = schema.field(places[0]).type
    if not _same_type(kind, wanted.type):
        raise UserError(
            f"column {wanted.name!r} of {origin} must be {_brief(wanted.type)}", value=_brief(kind), mend=_MEND
        )


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Equal but for the name and nullability of list items, which Parquet changes."""
    if pa.types.is_fixed_size_list(wanted):
        same_list = pa.types.is_fixed_size_list(found) and found.list_size == wanted.list_size
        return bool(same_list and found.value_type == wanted.value_type)
    if pa.types.is_large_list(wanted):
        return bool(pa.types.is_large_list(found) and found.value_type == wanted.value_type)
    return bool(found == wanted)


def _brief(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list<{kind.value_type}>[{kind.list_size}]"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{'large_' if pa.types.is_large_list(kind) else ''}list<{kind.value_type}>"
    return str(kind)


_OURS = SOURCE.keys() | ROW.keys() | AXES.keys() | {TENSORS}
