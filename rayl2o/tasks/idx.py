"""Strict reader of IDX files, the format of MNIST: a magic number, big-endian sizes, bytes. Gzip or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError

UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 2**20
_AGAIN = "fetch the file again"


def read_idx(path: Path, dims: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file; compression is told by the first bytes, not by the name.

    Args:
        path: The file.
        dims: Number of axes that it must have (3 for images, 1 for labels).

    Raises:
        UserError: If the file is missing, unreadable, corrupt gzip, not IDX, of another element type or number of axes, empty,
            truncated, or longer than its sizes say.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not zipped:
                return _read(raw, path, dims)
            with gzip.open(raw) as file:
                return _read(file, path, dims)
    except FileNotFoundError:
        raise UserError("IDX file does not exist", value=str(path), mend="put it there, gzip or plain") from None
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"IDX file is corrupt gzip ({error})", value=str(path), mend=_AGAIN) from None
    except OSError as error:
        raise UserError(f"IDX file is unreadable ({error.strerror})", value=str(path), mend="check the file") from None


def _read(file: BinaryIO | gzip.GzipFile, path: Path, dims: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise UserError(f"{path}: wrong magic number, not an IDX file", value=magic.hex(), mend=_AGAIN)
    if magic[2] != UNSIGNED_BYTE:
        raise UserError(f"{path}: unknown IDX element type", value=hex(magic[2]), mend="unsigned bytes (0x8) are read")
    if magic[3] != dims:
        mend = f"{dims} are expected: images have 3, labels 1; were two files swapped?"
        raise UserError(f"{path}: wrong number of IDX axes", value=magic[3], mend=mend)
    header = file.read(4 * dims)
    if len(header) < 4 * dims:
        raise UserError(f"{path}: IDX header is truncated, bytes present", value=4 + len(header), mend=_AGAIN)
    shape = struct.unpack(f">{dims}I", header)
    size = math.prod(shape)
    if size == 0:
        raise UserError(f"{path}: IDX file holds no elements, sizes", value=shape, mend=_AGAIN)
    body = _take(file, size)
    if len(body) < size:
        raise UserError(
            f"{path}: IDX file is truncated, {size} bytes follow from sizes {shape}", value=len(body), mend=_AGAIN
        )
    if file.read(1):
        raise UserError(f"{path}: IDX file goes on after its {size} bytes, sizes", value=shape, mend=_AGAIN)
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _take(file: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """At most ``size`` bytes, in pieces: a header may promise more than there is, or than memory holds."""
    pieces = []
    while size and (piece := file.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
