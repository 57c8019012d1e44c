"""Content digests of files, hashed once: afterwards a file is known by what the file system says of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rayl2o.checkpoint import parse_json
from rayl2o.errors import UserError
from rayl2o.tasks.datasets.cache import cache_folder

_SETTLED_NS = 2 * 10**9
_SHA256 = re.compile(r"[0-9a-f]{64}")

Stamp = tuple[int, ...]


def digest_of(files: Sequence[Path]) -> str:
    """Hex sha256 over the contents of files in order; names do not enter.

    Raises:
        UserError: If a file cannot be read.
    """
    total = hashlib.sha256()
    for file in files:
        total.update(bytes.fromhex(file_sha256(file)))
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file.

    A digest is trusted while device, inode, size, time of modification and time of the last change of the inode are the same
    as when it was made. The last one cannot be set back by ``touch`` or ``cp -p``. As a file may change twice within one tick of
    the clock, a file that changed less than two seconds before it was hashed is hashed again (git's "racy" rule).

    Raises:
        UserError: If the file cannot be read.
    """
    try:
        return _known(path, _stamp(path)) or _hashed(path)
    except OSError as error:
        mend = "check that it is there and that you may read it"
        raise UserError(f"cannot read data file ({error.strerror})", value=str(path), mend=mend) from None


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _hashed(path: Path) -> str:
    before, begun = _stamp(path), time.time_ns()
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if _stamp(path) == before and max(before[3:]) + _SETTLED_NS < begun:
        _remember(path, before, sha256)
    return sha256


@lru_cache(maxsize=256)
def _recorded(path: Path, stamp: Stamp) -> str:
    """The recorded digest of a file with this stamp.

    Raises:
        LookupError: If there is none; an exception is not cached, so that a later record is found.
    """
    try:
        record = parse_json(_record_of(path).read_bytes())
    except (OSError, ValueError) as error:
        raise LookupError(str(path)) from error
    if not isinstance(record, dict) or record.get("path") != str(path) or record.get("stamp") != list(stamp):
        raise LookupError(str(path))
    sha256 = record.get("sha256")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise LookupError(str(path))
    return sha256


def _known(path: Path, stamp: Stamp) -> str | None:
    try:
        return _recorded(path, stamp)
    except LookupError:
        return None


def _record_of(path: Path) -> Path:
    return cache_folder() / "stamps" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _remember(path: Path, stamp: Stamp, sha256: str) -> None:
    """Writes a record, whole or not at all; a cache that cannot be written costs a hash next time, no more."""
    with suppress(OSError):
        record = _record_of(path)
        record.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=record.parent, prefix=".", suffix=".partial", delete=False) as file:
            json.dump({"path": str(path), "stamp": stamp, "sha256": sha256}, file)
        os.replace(file.name, record)
