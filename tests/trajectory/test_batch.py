"""A segment survives Arrow bit for bit, and nothing that is not one comes back from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.trajectory.batch import from_batch, segment_bytes, select, to_batch, to_segments, to_table
from rayl2o.trajectory.schema import Shape
from tests.trajectory.examples import VARIANTS, make_segment, named_tensors, same


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip(variant: str) -> None:
    segment = VARIANTS[variant]()
    batch = to_batch(segment)
    assert batch.num_rows == segment.k
    assert batch.schema.equals(Shape.of(segment).schema(), check_metadata=True)
    batch.validate(full=True)
    assert same(from_batch(batch), segment)


@pytest.mark.parametrize("seed", range(12))
def test_round_trip_of_any_shape_and_order(seed: int) -> None:
    """Several segments of equal U and state, of any K, C, T and D, shuffled and cut into batches anywhere."""
    rng = np.random.default_rng(seed)
    steps, state, tensor_state = (int(n) for n in rng.integers((1, 0, 0), (6, 3, 3)))
    segments = [
        make_segment(
            k=int(rng.integers(1, 5)),
            steps=steps,
            coords=int(rng.integers(1, 7)),
            state=state,
            tensors=(int(rng.integers(0, 4)), tensor_state),
            params=int(rng.integers(11, 20)),
            key=key,
            seed=seed,
        )
        for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (2, 0, 0), (10, 0, 0))
    ]
    table = to_table(segments)
    rows = rng.permutation(table.num_rows)
    shuffled = table.take(pa.array(rows))
    cuts = sorted({0, table.num_rows, *rng.integers(0, table.num_rows, 3).tolist()})
    pieces = [shuffled.slice(a, b - a) for a, b in pairwise(cuts)]
    for data in (table, shuffled, pa.concat_tables(pieces), shuffled.combine_chunks().to_batches()[0]):
        found = to_segments(data)
        assert [segment.key for segment in found] == [segment.key for segment in segments]
        assert all(same(a, b) for a, b in zip(found, segments, strict=True))


def test_batches_of_other_coordinates_concatenate() -> None:
    segments = [make_segment(coords=c, key=(c, 0, 0), params=10 + c) for c in (1, 3, 7)]
    table = pa.concat_tables([pa.Table.from_batches([to_batch(segment)]) for segment in segments])
    assert all(same(a, b) for a, b in zip(to_segments(table), segments, strict=True))


def test_numbers_are_shared_on_the_way_out_and_copied_on_the_way_in() -> None:
    segment = make_segment()
    batch = to_batch(segment)
    values = batch.column("grad").values
    assert values.buffers()[1].address == segment.grad.data_ptr()
    found = from_batch(batch)
    for name, tensor in named_tensors(found):
        tensor.zero_()  # arrays from shared memory are read-only: this would fail or write through
        assert tensor.is_contiguous(), name
    assert same(from_batch(batch), segment)


def test_a_view_does_not_carry_its_parent() -> None:
    whole = make_segment(k=64, coords=50)
    views = {name: tensor[3:5] for name, tensor in named_tensors(whole)}
    part: Any = replace(
        whole, source=replace(whole.source, specs=whole.source.specs[3:5]), status=whole.status[3:5], **views
    )
    own = 3000  # scalars, offsets and JSON
    assert to_batch(part).get_total_buffer_size() < part.nbytes() + own < whole.nbytes() / 10
    assert segment_bytes(part) < part.nbytes() + 2 * own + 5000
    assert same(from_batch(to_batch(part)), part)


def test_selected_rows_do_not_carry_their_parent() -> None:
    batch = to_batch(make_segment(k=64, coords=50))
    piece = select(batch, 10, 2)
    assert piece.equals(batch.slice(10, 2))
    assert batch.slice(10, 2).get_total_buffer_size() == batch.get_total_buffer_size()
    assert piece.get_total_buffer_size() < batch.get_total_buffer_size() / 20
    assert piece.get_total_buffer_size() <= 1.05 * batch.slice(10, 2).nbytes
    assert select(batch, 63, 5).num_rows == 1
    assert select(batch, 70, 5).num_rows == 0


def test_segment_bytes_is_the_size_of_a_stream() -> None:
    segment = make_segment(k=8, steps=20, coords=500)
    batch = to_batch(segment)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert segment_bytes(segment) == sink.getvalue().size
    assert segment.nbytes() < segment_bytes(segment) < 1.02 * segment.nbytes() + 10_000


def test_float64_is_refused_or_rounded() -> None:
    segment = make_segment(dtype=torch.float64)
    with pytest.raises(
        UserError, match=r"segments are float32 on file, loss is another type: got 'float64'; .*cast=True"
    ):
        to_batch(segment)
    found = from_batch(to_batch(segment, cast=True))
    for name, tensor in named_tensors(segment):
        wanted = tensor.float() if tensor.dtype == torch.float64 else tensor
        assert torch.equal(torch.nan_to_num(getattr(found, name)), torch.nan_to_num(wanted)), name
        assert getattr(found, name).dtype == wanted.dtype
    assert segment_bytes(segment) == segment_bytes(found)


def test_a_number_that_float32_cannot_hold_is_refused() -> None:
    segment = make_segment(dtype=torch.float64)
    segment.grad[0, 1, 2] = 1e300
    with pytest.raises(UserError, match=r"grad must be finite before valid .*entry \[1, 2\]\): got inf"):
        to_table([segment], cast=True)


def test_wrong_integers_are_a_bug() -> None:
    segment = make_segment()
    with pytest.raises(ValueError, match="coords of a segment must be int32, got int64"):
        to_batch(replace(segment, coords=segment.coords.long()), cast=True)


def test_unlike_segments_do_not_share_a_table() -> None:
    for other in (
        make_segment(steps=5, key=(9, 0, 0)),
        make_segment(state=3, key=(9, 0, 0)),
        make_segment(params=None),
    ):
        with pytest.raises(UserError, match="segments of one table must be alike"):
            to_table([make_segment(), other])
    with pytest.raises(UserError, match=r"occurs twice in one table: got \(1, 2, 3\)"):
        to_table([make_segment(), make_segment(seed=5)])
    with pytest.raises(ValueError, match="at least one segment"):
        to_table([])


def test_from_batch_wants_one_segment() -> None:
    table = to_table([make_segment(), make_segment(key=(2, 0, 0))]).combine_chunks()
    with pytest.raises(UserError, match="a batch of one segment is needed: got '2 segments'"):
        from_batch(table.to_batches()[0])
    with pytest.raises(UserError, match="the batch holds no rows"):
        from_batch(to_batch(make_segment()).slice(0, 0))


def changed(name: str, row: int, value: object) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """A change of one value of a column, by way of Python objects."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        index = batch.schema.get_field_index(name)
        values = batch.column(index).to_pylist()
        values[row] = value
        field = batch.schema.field(index)
        return batch.set_column(index, pa.field(name, field.type), pa.array(values, field.type))

    return change


def rows(*order: int) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """These rows only."""
    return lambda batch: batch.take(pa.array(order, pa.int64()))


# The example has K = 3, U = 4, C = 5, S = 2, T = 3, S2 = 2, S3 = 2, D = 11.
REFUSED: dict[str, tuple[Callable[[pa.RecordBatch], pa.RecordBatch], str]] = {
    "duplicate row": (rows(0, 1, 2, 1), r"a row is there twice \(.*slot 1, ordinal 2, segment 3\): got 'instance 1'"),
    "last row missing": (rows(0, 1), r"rows of a segment are missing .* 3 instances .*: got \[0, 1\]"),
    "first row missing": (rows(2, 1), r"missing .*: got \[1, 2\]"),
    "row in the middle missing": (rows(2, 0), r"missing .*: got \[0, 2\]"),
    "instance below 0": (changed("instance", 0, -1), r"missing .*: got \[-1, 1, 2\]"),
    "too few instances declared": (changed("instances", 0, 2), "missing or too many, 2 instances"),
    "absurdly many instances declared": (changed("instances", 0, 2**31 - 1), "missing or too many, 2147483647"),
    "instances disagree": (changed("instances", 1, 4), r"disagree in column 'instances' .*: got \[3, 4\]"),
    "run disagrees": (changed("run_id", 1, "a ghost"), r"rows of one segment disagree in column 'run_id' .*'a ghost'"),
    "attempt disagrees": (changed("attempt", 2, 9), r"disagree in column 'attempt' .*: got \[1, 9\]"),
    "tensors disagree": (changed("tensors", 2, 9), "disagree in column 'tensors'"),
    "null scalar": (changed("valid", 1, None), "column 'valid' of the batch holds nulls: got 1"),
    "null list": (changed("grad", 1, None), "column 'grad' of the batch holds nulls"),
    "null number": (changed("weight", 1, [1.0, None, 1.0, 1.0, 1.0]), "column 'weight' of the batch holds nulls"),
    "null in a fixed list": (changed("actor", 1, [0, None, 0, 0]), "column 'actor' of the batch holds nulls"),
    "list too long": (changed("grad", 1, [0.0] * 21), r"grad must hold 20 numbers \(U,C\) .*instance 1\): got 21"),
    "list too short": (changed("weight", 2, [1.0] * 4), r"weight must hold 5 numbers \(C\) .*instance 2\): got 4"),
    "state too long": (changed("coord_state", 0, [0.0] * 12), r"coord_state must hold 10 numbers \(C,S\)"),
    "tensor state too long": (changed("tensor_state", 0, [0.0] * 8), r"tensor_state must hold 6 numbers \(T,S2\)"),
    "global state empty": (changed("global_state", 0, []), r"global_state must hold 2 numbers \(S3\)"),
    "params disagree": (changed("params", 1, [0.0] * 12), r"params must hold 11 numbers \(D\) .*instance 1\): got 12"),
    "coords of one row": (changed("coords", 1, [0] * 4), r"coords must hold 5 numbers \(C\) .*instance 1\): got 4"),
    "no coords": (changed("coords", 0, []), "a segment needs C >= 1"),
    "valid": (changed("valid", 1, 5), "valid must be in 0..4 .*: got 5"),
    "status": (changed("status", 1, "fine"), "unknown status .*: got 'fine'"),
    "NaN": (changed("weight", 1, [1.0, float("nan"), 1.0, 1.0, 1.0]), "weight must be finite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    change, message = REFUSED[name]
    batch = change(to_batch(make_segment()))
    with pytest.raises(UserError, match=message):
        to_segments(batch)
    with pytest.raises(UserError, match=message.replace("the batch", "FILE")):
        to_segments(pa.Table.from_batches([batch]), origin="FILE")


def test_tensors_below_zero() -> None:
    batch = to_batch(make_segment(tensors=(3, 0)))
    for row in range(3):
        batch = changed("tensors", row, -1)(batch)
    with pytest.raises(UserError, match="T >= 0"):
        from_batch(batch)


def test_offsets_that_point_nowhere() -> None:
    """Memory from elsewhere is checked before it is read: an offset beyond the values must not be followed."""
    batch = to_batch(make_segment())
    index = batch.schema.get_field_index("grad")
    offsets = pa.py_buffer(np.array([0, 10**12, 40, 60], dtype=np.int64))
    kind = batch.schema.field(index).type
    column = pa.Array.from_buffers(kind, 3, [None, offsets], children=[batch.column(index).values])
    with pytest.raises(UserError, match="the batch is damaged"):
        from_batch(batch.set_column(index, batch.schema.field(index), column))


def test_size_is_passed_on() -> None:
    batch = to_batch(make_segment(params=None))
    assert from_batch(batch, size=11).params is None
    with pytest.raises(UserError, match=r"coords must be in 0..2"):
        from_batch(batch, size=3)
