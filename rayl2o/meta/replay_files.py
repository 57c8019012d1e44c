"""Kept segments on disk: one append-only Arrow IPC file each, named with its checksum and listed in the checkpoint's manifest.

A file is named by its content, so that a run that goes on writes nothing twice and cannot mistake one segment for another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from rayl2o.checkpoint import replace_file
from rayl2o.errors import UserError
from rayl2o.meta.replay import Kept, ReplayState
from rayl2o.trajectory import store
from rayl2o.unroll.segment import Segment

_OURS = re.compile(r"\.?round-\d{8,}-[0-9a-f]{16}\.arrow(\.partial)?")


def write(folder: Path, replay: ReplayState) -> list[str]:
    """Writes the segments that are not there yet; returns the names of all their files, in the order of the entries.

    Raises:
        UserError: If the disk refuses.
    """
    return [_write(folder, kept) for kept in replay.entries]


def read(folder: Path, names: Sequence[str]) -> list[Segment]:
    """The segments of the named files, in that order.

    Raises:
        UserError: If a file is missing or damaged, its name does not carry its checksum, or it holds not one segment.
    """
    segments = []
    for name in names:
        if not isinstance(name, str) or not _OURS.fullmatch(name) or name.startswith("."):
            raise UserError("not the name of a replayed segment's file", value=name, mend="use another checkpoint")
        segments += store.read_ipc(folder / name)
    if len(segments) != len(names):
        raise UserError(
            "a replayed segment's file holds one segment", value=len(segments), mend="use another checkpoint"
        )
    return segments


def _write(folder: Path, kept: Kept) -> str:
    table = store.to_table([kept.segment])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    name = f"round-{kept.round:08d}-{hashlib.sha256(data).hexdigest()[:16]}.arrow"
    path = folder / name
    # Its content and not its name decides: a file that was damaged since is written again.
    if not (path.is_file() and pa.py_buffer(path.read_bytes()).equals(data)):
        replace_file(path, lambda file: file.write(data))
    return name


def sweep(folder: Path, named: Collection[str]) -> None:
    """Deletes the files that are not named, and what a killed writer left. Other files are let be."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)
