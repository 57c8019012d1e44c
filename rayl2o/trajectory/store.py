"""Files of segments: IPC and Parquet, written as a whole or not at all, and one append-only file per round."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from rayl2o.checkpoint import replace_file
from rayl2o.errors import UserError
from rayl2o.trajectory import schema as columns
from rayl2o.trajectory.batch import from_batch, segment_bytes, select, to_batch, to_segments, to_table
from rayl2o.unroll.segment import Segment

__all__ = [
    "append",
    "from_batch",
    "read_ipc",
    "read_parquet",
    "rounds",
    "segment_bytes",
    "select",
    "to_batch",
    "to_segments",
    "to_table",
    "write_ipc",
    "write_parquet",
]

_ROUND = re.compile(r"round-(\d{8,})-([0-9a-f]{16})\.arrow")
_MEND = "write it again, or leave it out"
_MAGIC = {"Arrow IPC": b"ARROW1", "Parquet": b"PAR1"}


def write_ipc(path: Path, segments: Iterable[Segment], cast: bool = False) -> Path:
    """An Arrow IPC file, written as a whole or not at all. Errors as in :func:`to_table`, or of the disk."""
    data = _encode(to_table(segments, cast))
    return replace_file(path, lambda file: file.write(data))


def read_ipc(path: Path, size: int | None = None) -> list[Segment]:
    """Segments of an Arrow IPC file, in (slot, ordinal, segment) order. If its name carries a checksum, it must hold.

    Raises:
        UserError: If the file is missing, empty, truncated, something else, damaged, or holds what is not a segment.
    """
    _check_file(path, "Arrow IPC")
    named = _ROUND.fullmatch(path.name)
    if named:
        found = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        if found != named[2]:
            raise UserError(f"{path} is damaged, its name says sha256 {named[2]}...", value=found, mend=_MEND)
    return _read(
        path, "Arrow IPC", lambda: pa.memory_map(str(path)), lambda file: pa.ipc.open_file(file).read_all(), size
    )


def write_parquet(path: Path, segments: Iterable[Segment], cast: bool = False) -> Path:
    """A Parquet file (zstd), for keeping and for other tools, written as a whole or not at all. Errors as :func:`write_ipc`."""
    table = to_table(segments, cast)
    texts = [name for name, kind in (columns.SOURCE | columns.ROW).items() if kind == pa.string()]
    return replace_file(
        path, lambda file: pa.parquet.write_table(table, file, compression="zstd", use_dictionary=texts)
    )


def read_parquet(path: Path, size: int | None = None) -> list[Segment]:
    """Segments of a Parquet file; as :func:`read_ipc`."""
    _check_file(path, "Parquet")
    return _read(path, "Parquet", lambda: pa.parquet.ParquetFile(path), lambda file: file.read(), size)


def append(folder: Path, round: int, segments: Iterable[Segment], cast: bool = False) -> Path:
    """The segments of a round as an IPC file named with its checksum. Files are never changed: the same round again writes the
    same file, or another one beside it if the segments differ.

    Returns:
        ``folder/round-<round>-<sha256, 16 digits>.arrow``, to be named in a checkpoint.
    """
    data = _encode(to_table(segments, cast))
    name = f"round-{round:08d}-{hashlib.sha256(data).hexdigest()[:16]}.arrow"
    return replace_file(folder / name, lambda file: file.write(data))


def rounds(folder: Path) -> list[Path]:
    """The files of :func:`append` in order of their rounds."""
    found = [(_ROUND.fullmatch(entry.name), entry) for entry in folder.iterdir()]
    return [entry for _, entry in sorted((int(match[1]), entry) for match, entry in found if match)]


def _encode(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _check_file(path: Path, kind: str) -> None:
    magic = _MAGIC[kind]
    try:
        with path.open("rb") as file:
            head = file.read(len(magic))
    except OSError as error:
        raise UserError(f"cannot read {kind} file ({error.strerror})", value=str(path), mend="check the path") from None
    if not head:
        raise UserError(f"{kind} file is empty", value=str(path), mend=_MEND)
    if head != magic:
        raise UserError(f"not an {kind} file".replace("an P", "a P"), value=str(path), mend="name a file of segments")


def _read(
    path: Path,
    kind: str,
    opener: Callable[[], AbstractContextManager[Any]],
    reader: Callable[[Any], pa.Table],
    size: int | None,
) -> list[Segment]:
    try:
        with opener() as file:
            table = reader(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"{kind} file is truncated or damaged ({str(error).splitlines()[0]})"
        raise UserError(what, value=str(path), mend=_MEND) from None
    return to_segments(table, size, str(path))
