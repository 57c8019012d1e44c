"""A segment as an Arrow batch, and back: what crosses processes and goes to files.

Nothing keeps a graph or a torch object: numbers go out, numbers come back and are checked before a learner sees them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.trajectory import schema as columns
from rayl2o.trajectory.schema import Shape, read_shape
from rayl2o.trajectory.validate import check_shapes, check_values
from rayl2o.unroll.segment import Provenance, Segment

_MEND = "write it again, or leave it out"


def to_batch(segment: Segment, cast: bool = False) -> pa.RecordBatch:
    """One row per instance. Float32 tensors on the CPU are not copied: the batch shares their memory, and no more than theirs.

    Batches of equal U and state sizes concatenate (``pa.Table.from_batches``), whatever their C.

    Args:
        segment: Of right shapes; values are checked by whoever reads.
        cast: Round other dtypes, such as float64, to float32.

    Raises:
        UserError: If a tensor is not float32 and ``cast`` is off.
        ValueError: If a tensor has not the documented shape.
    """
    check_shapes(segment)
    shape, k = Shape.of(segment), segment.k
    arrow = shape.schema()
    scalars: dict[str, object] = {name: [getattr(segment.source, name)] * k for name in columns.SOURCE}
    scalars |= {
        columns.SPEC: list(segment.source.specs),
        columns.INSTANCE: list(range(k)),
        columns.INSTANCES: [k] * k,
        columns.STATUS: list(segment.status),
        columns.VALID: _numpy(segment.valid),
        columns.TENSORS: None if segment.tensor_state is None else [segment.tensor_state.shape[1]] * k,
    }
    arrays: list[pa.Array] = []
    for field in arrow:
        if field.name in columns.AXES:
            tensor = getattr(segment, field.name)
            values = _values(field.name, tensor, cast)
            if field.name in columns.FIXED:
                arrays.append(pa.FixedSizeListArray.from_arrays(values, type=field.type))
            else:
                offsets = pa.array(np.arange(k + 1, dtype=np.int64) * (tensor.numel() // k))
                arrays.append(pa.LargeListArray.from_arrays(offsets, values, type=field.type))
        else:
            arrays.append(pa.array(scalars[field.name], field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=arrow)


def from_batch(batch: pa.RecordBatch, size: int | None = None) -> Segment:
    """The segment of a batch that holds exactly one; ``size`` and errors as in :func:`to_segments`."""
    segments = to_segments(batch, size)
    if len(segments) != 1:
        raise UserError("a batch of one segment is needed", value=f"{len(segments)} segments", mend="use to_segments")
    return segments[0]


def to_segments(data: pa.RecordBatch | pa.Table, size: int | None = None, origin: str = "the batch") -> list[Segment]:
    """Regroups rows, in whatever order they come, into segments by (slot, ordinal, segment), instances in order.

    Numbers are copied once, into torch's own memory (arrays from shared memory are read-only), and checked.

    Args:
        data: Rows of whole segments.
        size: D, if known: coordinates are checked against it.
        origin: Where the data come from, to begin messages with.

    Raises:
        UserError: Whatever is wrong with schema or values, a row that is there twice or not at all.
    """
    shape = read_shape(data.schema, origin)
    parts = [
        _Rows.of(batch, shape, origin) for batch in ([data] if isinstance(data, pa.RecordBatch) else data.to_batches())
    ]
    keyed = sorted((key, p, row) for p, part in enumerate(parts) for row, key in enumerate(part.keys()))
    if not keyed:
        raise UserError(f"{origin} holds no rows", value=0, mend=_MEND)
    segments = []
    for (slot, ordinal, number), group in groupby(keyed, key=lambda entry: entry[0][:3]):
        place = f"{origin}, slot {slot}, ordinal {ordinal}, segment {number}"
        members = list(group)
        _check_members(parts, members, place)
        segment = _gather(shape, parts, [(p, row) for _, p, row in members], place)
        check_values(segment, origin, size)
        segments.append(segment)
    return segments


def to_table(segments: Iterable[Segment], cast: bool = False) -> pa.Table:
    """A batch per segment, in one table; values are checked, so that no file is written that would not be read.

    Raises:
        UserError: If segments differ in U or in the rule's state, occur twice, or hold values that are refused on reading.
    """
    batches: list[pa.RecordBatch] = []
    first: Shape | None = None
    seen: set[tuple[int, int, int]] = set()
    for segment in segments:
        batch = to_batch(segment, cast)
        check_values(_rounded(segment) if cast else segment, "the segment to write")
        shape = Shape.of(segment)
        first = first or shape
        if shape != first:
            raise UserError(
                f"segments of one table must be alike, the first is {first}", value=shape, mend="keep U fixed"
            )
        if segment.key in seen:
            raise UserError(
                "(slot, ordinal, segment) occurs twice in one table", value=segment.key, mend="write it once"
            )
        seen.add(segment.key)
        batches.append(batch)
    if not batches:
        raise ValueError("a table needs at least one segment")
    return pa.Table.from_batches(batches)


def select(batch: pa.RecordBatch, start: int, count: int) -> pa.RecordBatch:
    """Rows ``start .. start + count`` in buffers of their own. A plain slice ships the whole parent to another process."""
    return batch.slice(start, count).take(pa.array(range(min(count, max(batch.num_rows - start, 0))), pa.int64()))


def segment_bytes(segment: Segment) -> int:
    """Bytes of a segment as an Arrow IPC stream, schema included: what crosses a process."""
    batch = to_batch(segment, cast=True)
    sink = pa.MockOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return int(sink.size())


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array


def _values(name: str, tensor: Tensor, cast: bool) -> pa.Array:
    array = _numpy(tensor).reshape(-1)
    kind = columns.VALUES.get(name, pa.float32())
    if array.dtype == kind.to_pandas_dtype():
        return pa.array(array)
    if name in columns.VALUES:
        raise ValueError(f"{name} of a segment must be {kind}, got {array.dtype}")
    if not cast:
        mend = "run with dtype float32, or ask for the loss of digits with cast=True"
        raise UserError(f"segments are float32 on file, {name} is another type", value=str(array.dtype), mend=mend)
    with np.errstate(over="ignore"):
        return pa.array(array.astype(np.float32))


def _rounded(segment: Segment) -> Segment:
    names = [name for name in columns.AXES if name not in columns.VALUES and getattr(segment, name) is not None]
    return replace(segment, **{name: getattr(segment, name).float() for name in names})


@dataclass(frozen=True)
class _Rows:
    """Columns of one batch: lists of scalars, and views of numbers with the offsets of each row."""

    scalars: dict[str, list[Any]]
    values: dict[str, NDArray[Any]]
    offsets: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, batch: pa.RecordBatch, shape: Shape, origin: str) -> _Rows:
        """Checks that the memory is sound and nothing is null, which the schema alone does not ensure."""
        try:
            batch.validate(full=True)
        except pa.ArrowException as error:
            raise UserError(f"{origin} is damaged", value=str(error).splitlines()[0], mend=_MEND) from None
        rows = cls({}, {}, {})
        for field in shape.schema():
            name = field.name
            column = batch.column(batch.schema.get_field_index(name))
            if column.null_count or (name in columns.AXES and column.values.null_count):
                raise UserError(f"column {name!r} of {origin} holds nulls", value=column.null_count, mend=_MEND)
            if name not in columns.AXES:
                rows.scalars[name] = column.to_pylist()
            elif name in columns.FIXED:
                rows.values[name] = column.flatten().to_numpy(zero_copy_only=True)
                rows.offsets[name] = np.arange(len(column) + 1, dtype=np.int64) * field.type.list_size
            else:
                rows.values[name] = column.values.to_numpy(zero_copy_only=True)
                rows.offsets[name] = column.offsets.to_numpy()
        return rows

    def keys(self) -> Iterable[tuple[int, int, int, int]]:
        """(slot, ordinal, segment, instance) of each row."""
        names = (columns.SLOT, columns.ORDINAL, columns.SEGMENT, columns.INSTANCE)
        return zip(*(self.scalars[name] for name in names), strict=True)

    def row(self, name: str, row: int) -> NDArray[Any]:
        """A view of the numbers of one row."""
        offsets = self.offsets[name]
        view: NDArray[Any] = self.values[name][offsets[row] : offsets[row + 1]]
        return view


_Member = tuple[tuple[int, int, int, int], int, int]


def _check_members(parts: Sequence[_Rows], members: Sequence[_Member], place: str) -> None:
    """Each instance is there exactly once, and all agree on where they come from."""
    instances = [key[3] for key, _, _ in members]
    for one, other in pairwise(instances):
        if one == other:
            raise UserError(f"a row is there twice ({place})", value=f"instance {one}", mend="keep one of them")
    _, p, row = members[0]
    total = parts[p].scalars[columns.INSTANCES][row]
    if (len(instances), instances[0], instances[-1]) != (total, 0, total - 1):
        what = f"rows of a segment are missing or too many, {total} instances from 0 on are expected ({place})"
        raise UserError(what, value=instances, mend=_MEND)
    for name in (*columns.SOURCE, columns.INSTANCES, columns.TENSORS):
        if name in parts[p].scalars:
            found = {parts[q].scalars[name][r] for _, q, r in members}
            if len(found) > 1:
                what = f"rows of one segment disagree in column {name!r} ({place})"
                raise UserError(what, value=sorted(found), mend="keep the rows of one run and one attempt")


def _gather(shape: Shape, parts: Sequence[_Rows], members: Sequence[tuple[int, int]], place: str) -> Segment:
    """The one copy: rows of numbers stacked into memory of their own."""

    def scalars(name: str) -> list[Any]:
        return [parts[p].scalars[name][row] for p, row in members]

    coords = len(parts[members[0][0]].row("coords", members[0][1]))
    tensors = 0 if shape.tensor_state is None else scalars(columns.TENSORS)[0]
    if coords < 1 or tensors < 0:
        what = f"a segment needs C >= 1 and T >= 0 ({place})"
        raise UserError(what, value={"C": coords, "T": tensors}, mend=_MEND)
    found: dict[str, Tensor | None] = dict.fromkeys(columns.AXES)
    for name, wanted in shape.arrays(coords, tensors).items():
        views = [parts[p].row(name, row) for p, row in members]
        length = len(views[0]) if wanted == (-1,) else math.prod(wanted)
        for i, view in enumerate(views):
            if len(view) != length:
                what = f"{name} must hold {length} numbers ({columns.AXES[name]}) a row ({place}, instance {i})"
                raise UserError(what, value=len(view), mend=_MEND)
        found[name] = torch.from_numpy(np.stack(views)).reshape(len(views), *((length,) if wanted == (-1,) else wanted))
    source = {name: scalars(name)[0] for name in columns.SOURCE}
    return Segment(
        source=Provenance(specs=tuple(scalars(columns.SPEC)), **source),
        status=tuple(scalars(columns.STATUS)),
        valid=torch.tensor(scalars(columns.VALID), dtype=torch.int32),
        **found,  # type: ignore[arg-type]  # required ones are always in the shape
    )
