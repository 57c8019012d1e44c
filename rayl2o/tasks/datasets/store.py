"""One read-only copy of a data set's examples per machine, decoded, mapped into every process that asks for it.

An entry is a folder of the cache: ``inputs.f32`` and ``labels.i64``, raw numbers in the machine's byte order, and a manifest.
It is named by a digest of the source files' content, so that it is never out of date and never rewritten: a changed file is
another entry.
The kernel keeps mapped pages once, whoever maps them; a process pays for its page tables only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rayl2o.checkpoint import parse_json, sync
from rayl2o.errors import UserError
from rayl2o.tasks.datasets.base import DataSet, Examples, Source
from rayl2o.tasks.datasets.cache import CACHE_VARIABLE, cache_folder
from rayl2o.tasks.datasets.lock import locked
from rayl2o.tasks.datasets.splits import shuffled_rows

FORMAT = 1
INPUTS, LABELS, MANIFEST = "inputs.f32", "labels.i64", "manifest.json"

_CHUNK_BYTES = 8 * 2**20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """What an entry holds.

    Attributes:
        name: Of the data set.
        part: ``train`` or ``test``.
        shuffled: Whether its examples are in the order of :func:`~rayl2o.tasks.datasets.splits.shuffled_rows`.
        digest: Of the source's content.
    """

    name: str
    part: str
    shuffled: bool
    digest: str

    @property
    def path(self) -> Path:
        """Folder of the entry.

        Raises:
            OSError: If there is no place for a cache.
        """
        text = json.dumps([FORMAT, sys.byteorder, self.name, self.part, self.shuffled, self.digest])
        readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in self.name).strip("-").lower()[:40]
        order = "-shuffled" if self.shuffled else ""
        return (
            cache_folder() / "data" / f"{readable}-{self.part}{order}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        )


def examples_of(source: Source, key: Key) -> DataSet:
    """The examples of a key, mapped; from memory, with a warning in the log, where the cache cannot be written.

    Raises:
        UserError: If the source has no such data, they are damaged, or they change meanwhile.
    """
    found = mapped(source, key)
    if found is not None:
        return found
    try:
        with _sole_writer(key.path) as alone:
            found = mapped(source, key)  # another process may have been faster
            if found is not None:
                return found
            examples = source.read(key.part)
            if source.digest(key.part) != key.digest:
                mend = "run again when whoever writes it is done"
                raise UserError("data set changed while it was read", value=key.name, mend=mend)
            return _written(source, key, examples, alone)
    except OSError as error:
        mend = f"every process holds its own copy; set ${CACHE_VARIABLE} to a folder on a disk with space to share one"
        _log.warning("data set %r is not stored (%s): %s", key.name, error, mend)
        return in_memory(source, key.part, key.shuffled)


def in_memory(source: Source, part: str, shuffled: bool) -> DataSet:
    """The examples of a part in memory of this process."""
    examples = source.read(part)
    rows = _order(len(examples.labels), shuffled)
    inputs, labels = torch.from_numpy(examples.scaled(rows)), torch.from_numpy(examples.labels[rows])
    return DataSet(inputs, labels, source.info.classes)


def mapped(source: Source, key: Key) -> DataSet | None:
    """The entry of a key as tensors on its pages; None if there is none, or it is not whole.

    Read are the manifest, under its own checksum, and the sizes of the files. :func:`condition` reads all.
    """
    try:
        path, manifest = key.path, _manifest(key)
        count, features = int(manifest["examples"]), int(manifest["features"])
        if features != source.info.features or not _sizes_fit(path, count, features):
            return None
        # Private, so that a stray write in place cannot reach the file nor another process.
        inputs = torch.from_file(str(path / INPUTS), shared=False, size=count * features, dtype=torch.float32)
        labels = torch.from_file(str(path / LABELS), shared=False, size=count, dtype=torch.int64)
    except (OSError, ValueError, RuntimeError):  # torch reports a file that it cannot map as a RuntimeError
        return None
    return DataSet(inputs.view(count, features), labels, source.info.classes)


def condition(key: Key) -> str:
    """``sound`` if every byte of an entry is as it was written, ``damaged`` if not, ``absent`` if there is none."""
    try:
        if not key.path.exists():
            return "absent"
        manifest = _manifest(key)
        whole = all(_sha256(key.path / file) == manifest["sha256"][file] for file in (INPUTS, LABELS))
    except (OSError, ValueError):
        whole = False
    return "sound" if whole else "damaged"


def _written(source: Source, key: Key, examples: Examples, alone: bool) -> DataSet:
    """Writes an entry beside its place and renames it there, whole; then maps it."""
    place = key.path
    if alone:
        for left in place.parent.glob(f".{place.name}.*.partial"):  # of writers that were killed
            shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.", suffix=".partial"))
    try:
        _write(partial, key, examples)
        if place.exists():  # damaged, or written by another process just now where files cannot be locked
            os.rename(place, Path(tempfile.mkdtemp(dir=partial)) / "replaced")
        os.rename(partial / "entry", place)
        sync(place.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    found = mapped(source, key)
    if found is None:
        raise OSError(f"what was written to {place} cannot be read back")
    return found


def _write(partial: Path, key: Key, examples: Examples) -> None:
    entry = partial / "entry"
    entry.mkdir()
    count, features = examples.inputs.shape
    rows, chunk = _order(count, key.shuffled), max(1, _CHUNK_BYTES // (4 * features))
    blocks = (examples.scaled(_piece(rows, start, start + chunk, count)) for start in range(0, count, chunk))
    sha256 = {INPUTS: _save(entry / INPUTS, blocks), LABELS: _save(entry / LABELS, iter((examples.labels[rows],)))}
    manifest = {
        "format": FORMAT,
        "name": key.name,
        "part": key.part,
        "shuffled": key.shuffled,
        "source": key.digest,
        "examples": count,
        "features": features,
        "sha256": sha256,
    }
    text = json.dumps({**manifest, "manifest_sha256": _own_sha256(manifest)}, indent=1)
    _save(entry / MANIFEST, iter((np.frombuffer(text.encode(), dtype=np.uint8),)))
    sync(entry)


def _save(path: Path, blocks: Iterator[NDArray[Any]]) -> str:
    """Writes arrays one after the other, synced; their sha256."""
    total = hashlib.sha256()
    with path.open("wb") as file:
        for block in blocks:
            data = np.ascontiguousarray(block).data
            total.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o444)
    return total.hexdigest()


def _order(count: int, shuffled: bool) -> slice | NDArray[np.int64]:
    return shuffled_rows(count) if shuffled else slice(0, count)


def _piece(rows: slice | NDArray[np.int64], start: int, stop: int, count: int) -> slice | NDArray[np.int64]:
    return slice(start, min(stop, count)) if isinstance(rows, slice) else rows[start:stop]


def _manifest(key: Key) -> Mapping[str, Any]:
    """The manifest of an entry.

    Raises:
        OSError, ValueError: If it is not there or not what :func:`_write` wrote for this key.
    """
    manifest = parse_json((key.path / MANIFEST).read_bytes())
    if not isinstance(manifest, dict):
        raise ValueError("not a manifest")
    body = {name: value for name, value in manifest.items() if name != "manifest_sha256"}
    expected = {"format": FORMAT, "name": key.name, "part": key.part, "shuffled": key.shuffled, "source": key.digest}
    if manifest.get("manifest_sha256") != _own_sha256(body) or not expected.items() <= body.items():
        raise ValueError("the manifest was changed after it was written")
    return body


def _own_sha256(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sizes_fit(path: Path, count: int, features: int) -> bool:
    return (path / INPUTS).stat().st_size == 4 * count * features and (path / LABELS).stat().st_size == 8 * count


@contextmanager
def _sole_writer(place: Path) -> Iterator[bool]:
    """Waits for other writers of an entry, so that one process decodes and the others then map; whether that worked.

    Where a file system has no locks, several write and one rename stands.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.parent / f".{place.name}.lock"
    lock.touch()
    with locked(lock) as alone:
        yield alone
