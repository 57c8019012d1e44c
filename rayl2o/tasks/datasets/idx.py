"""Strict reader of IDX files, the format of MNIST: a magic number, big-endian sizes, bytes. Gzip or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError

UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 2**20

Stream: TypeAlias = "BinaryIO | gzip.GzipFile"


def read_idx(path: Path, dims: int, mend: str = "fetch the file again") -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file; compression is told by the first bytes, not by the name.

    Args:
        path: The file.
        dims: Number of axes that it must have (3 for images, 1 for labels).
        mend: What to do about a damaged file.

    Raises:
        UserError: If the file is missing, unreadable, corrupt gzip, not IDX, of another element type or number of axes, empty,
            truncated, or longer than its sizes say.
    """
    with _opened(path, mend) as file:
        shape = _read_shape(file, path, dims, mend)
        size = math.prod(shape)
        body = _take(file, size)
        if len(body) < size:
            what = f"{path}: IDX file is truncated, {size} bytes follow from sizes {shape}"
            raise UserError(what, value=len(body), mend=mend)
        if file.read(1):
            raise UserError(f"{path}: IDX file goes on after its {size} bytes, sizes", value=shape, mend=mend)
        return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def idx_shape(path: Path, dims: int, mend: str = "fetch the file again") -> tuple[int, ...]:
    """The sizes that the header of an IDX file gives; the rest is not read. Arguments and errors as :func:`read_idx`."""
    with _opened(path, mend) as file:
        return _read_shape(file, path, dims, mend)


@contextmanager
def _opened(path: Path, mend: str) -> Iterator[Stream]:
    """The content of a file, decompressed; what goes wrong while it is read is the user's mistake."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not zipped:
                yield raw
            else:
                with gzip.open(raw) as file:
                    yield file
    except FileNotFoundError:
        raise UserError("IDX file does not exist", value=str(path), mend="put it there, gzip or plain") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"IDX file is corrupt gzip ({error})", value=str(path), mend=mend) from None
    except OSError as error:
        raise UserError(f"IDX file is unreadable ({error.strerror})", value=str(path), mend="check the file") from None


def _read_shape(file: Stream, path: Path, dims: int, mend: str) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise UserError(f"{path}: wrong magic number, not an IDX file", value=magic.hex(), mend=mend)
    if magic[2] != UNSIGNED_BYTE:
        raise UserError(f"{path}: unknown IDX element type", value=hex(magic[2]), mend="unsigned bytes (0x8) are read")
    if magic[3] != dims:
        swapped = f"{dims} are expected: images have 3, labels 1; were two files swapped?"
        raise UserError(f"{path}: wrong number of IDX axes", value=magic[3], mend=swapped)
    header = file.read(4 * dims)
    if len(header) < 4 * dims:
        raise UserError(f"{path}: IDX header is truncated, bytes present", value=4 + len(header), mend=mend)
    shape = struct.unpack(f">{dims}I", header)
    if math.prod(shape) == 0:
        raise UserError(f"{path}: IDX file holds no elements, sizes", value=shape, mend=mend)
    return shape


def _take(file: Stream, size: int) -> bytes:
    """At most ``size`` bytes, in pieces: a header may promise more than there is, or than memory holds."""
    pieces = []
    while size and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
