"""The schema: what it declares, and what it refuses by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pyarrow as pa
import pytest

from rayl2o.errors import UserError
from rayl2o.trajectory.schema import AXES, FIXED, ROW, SCHEMA_VERSION, SOURCE, VALUES, Shape, read_shape
from rayl2o.unroll.segment import Segment
from tests.trajectory.examples import VARIANTS, make_segment, named_tensors

SHAPE = Shape(steps=4, coord_state=2, tensor_state=3, global_state=1, params=True)


def test_every_tensor_of_a_segment_has_a_column() -> None:
    assert AXES.keys() | {"source", "status", "valid"} == {field.name for field in fields(Segment)}
    assert not AXES.keys() & (SOURCE.keys() | ROW.keys())
    assert FIXED.keys() | VALUES.keys() <= AXES.keys()
    assert list(SHAPE.arrays(1, 1)) == list(AXES)


@pytest.mark.parametrize("variant", VARIANTS)
def test_shape_of_a_segment_survives_its_schema(variant: str) -> None:
    segment = VARIANTS[variant]()
    shape = Shape.of(segment)
    assert read_shape(shape.schema(), "x") == shape
    present = {name for name, _ in named_tensors(segment)} - {"valid"}
    assert present == shape.arrays(1, 1).keys() == AXES.keys() & set(shape.schema().names)


def test_the_schema_says_what_it_is() -> None:
    schema = SHAPE.schema()
    assert schema.metadata[b"rayl2o.schema_version"] == str(SCHEMA_VERSION).encode()
    assert schema.metadata[b"rayl2o.dtype"] == b"float32"
    assert schema.field("grad").metadata == {b"shape": b"U,C"}
    assert schema.field("loss").type.list_size == 5
    assert not any(field.nullable for field in schema)
    assert "tensors" not in Shape.of(make_segment(tensors=None)).schema().names


def test_foreign_columns_and_any_order_are_let_be() -> None:
    schema = SHAPE.schema()
    mixed = pa.schema(list(schema)[::-1] + [pa.field("note", pa.string())], metadata=schema.metadata)
    assert read_shape(mixed, "x") == SHAPE


def _without(name: str) -> Callable[[pa.Schema], pa.Schema]:
    return lambda schema: schema.remove(schema.get_field_index(name))


def _renamed(name: str, new: str) -> Callable[[pa.Schema], pa.Schema]:
    return lambda s: s.set(s.get_field_index(name), s.field(name).with_name(new))


def _typed(name: str, kind: pa.DataType) -> Callable[[pa.Schema], pa.Schema]:
    return lambda s: s.set(s.get_field_index(name), pa.field(name, kind))


def _meta(**texts: str | None) -> Callable[[pa.Schema], pa.Schema]:
    def change(schema: pa.Schema) -> pa.Schema:
        metadata = {key.decode(): text.decode() for key, text in schema.metadata.items()}
        metadata |= {f"rayl2o.{name}": text for name, text in texts.items() if text is not None}
        return schema.with_metadata(
            {k: v for k, v in metadata.items() if texts.get(k.removeprefix("rayl2o."), v) is not None}
        )

    return change


REFUSED: dict[str, tuple[Callable[[pa.Schema], pa.Schema], str]] = {
    "missing column": (_without("credit"), "FILE lacks a column: got 'credit'; write it again"),
    "near miss": (_renamed("credit", "credits"), "FILE lacks a column: got 'credit'; rename the column 'credits'"),
    "no metadata and a missing column": (
        lambda s: _renamed("credit", "credits")(s).remove_metadata(),
        "FILE lacks a column: got 'credit'; rename the column 'credits'",
    ),
    "missing scalar": (_without("slot"), "lacks a column: got 'slot'"),
    "missing optional that is declared": (_without("params"), "lacks a column: got 'params'"),
    "missing count": (_without("tensors"), "lacks a column: got 'tensors'"),
    "column twice": (lambda s: s.append(s.field("grad")), "has a column 2 times: got 'grad'"),
    "float64": (
        _typed("grad", pa.large_list(pa.float64())),
        "column 'grad' of FILE must be large_list<float>: got 'large_list<double>'",
    ),
    "small list": (_typed("grad", pa.list_(pa.float32())), "must be large_list<float>: got 'list<float>'"),
    "fixed list": (_typed("grad", pa.list_(pa.float32(), 4)), r"got 'fixed_size_list<float>\[4\]'"),
    "another length": (
        _typed("loss", pa.list_(pa.float32(), 4)),
        r"column 'loss' of FILE must be fixed_size_list<float>\[5\]: got 'fixed_size_list<float>\[4\]'",
    ),
    "scalar as list": (
        _typed("valid", pa.list_(pa.int32())),
        "column 'valid' of FILE must be int32: got 'list<int32>'",
    ),
    "text as number": (_typed("status", pa.int32()), "column 'status' of FILE must be string: got 'int32'"),
    "no metadata": (lambda s: s.remove_metadata(), "holds no segments, its schema has no rayl2o.schema_version"),
    "another version": (_meta(schema_version="2"), "unknown schema_version of FILE: got '2'; .* reads version 1"),
    "another dtype": (_meta(dtype="float64"), "unknown dtype of FILE: got 'float64'"),
    "no U": (_meta(steps=None), "rayl2o.steps of FILE must be a count >= 1: got None"),
    "U of 0": (_meta(steps="0"), "rayl2o.steps of FILE must be a count >= 1: got '0'"),
    "U below 0": (_meta(steps="-4"), "must be a count >= 1: got '-4'"),
    "U beyond all bounds": (_meta(steps="9" * 30), "must be a count >= 1: got '9999"),
    "U in words": (_meta(steps="four"), "must be a count >= 1: got 'four'"),
    "another U than the columns": (_meta(steps="5"), r"column 'loss' of FILE must be fixed_size_list<float>\[6\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    change, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        read_shape(change(SHAPE.schema()), "FILE")
