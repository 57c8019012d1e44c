"""Which data sets are here, and whether they are what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rayl2o.errors import UserError
from rayl2o.tasks.datasets.archives import PUBLICATIONS
from rayl2o.tasks.datasets.base import PARTS
from rayl2o.tasks.datasets.fingerprint import file_sha256
from rayl2o.tasks.datasets.folder import data_folder, data_root
from rayl2o.tasks.datasets.registry import FILE_SOURCES, source_of
from rayl2o.tasks.datasets.store import Key, condition

EMBEDDED, FOUND, MISSING, DAMAGED = "embedded", "found", "missing", "damaged"


@dataclass(frozen=True)
class Presence:
    """Whether a data set is here, from names, headers and sizes.

    Attributes:
        name: As settings name it.
        status: ``embedded``, ``found``, ``missing`` or ``damaged``.
        folder: Where it is expected; None if it is embedded or the data folder is not known.
        examples: Their number by part; empty unless it is there.
        published: Their number as published.
        download: Bytes to download.
        detail: What is wrong, or how to get it.
    """

    name: str
    status: str
    folder: Path | None
    examples: Mapping[str, int]
    published: Mapping[str, int]
    download: int
    detail: str = ""


@dataclass(frozen=True)
class FileReport:
    """A file of a data set; ``published`` says whether it is the published one, None where no checksum is known."""

    file: Path
    size: int
    sha256: str
    published: bool | None


@dataclass(frozen=True)
class PartReport:
    """A part that has been read strictly.

    Attributes:
        part: ``train`` or ``test``.
        examples: Their number.
        labels: How many examples each class has.
        files: What it was read from; empty if it is embedded or another library's.
        stored: ``sound``, ``damaged`` or ``absent`` for its copy in the store, and for the shuffled one.
    """

    part: str
    examples: int
    labels: tuple[int, ...]
    files: tuple[FileReport, ...]
    stored: Mapping[str, str]


def presence(name: str) -> Presence:
    """Whether a data set of files, or an embedded one, is here.

    Raises:
        UserError: If there is no such data set.
    """
    source = FILE_SOURCES.get(name)
    if source is None:
        return Presence(name, EMBEDDED, None, {part: len(source_of(name).read(part).labels) for part in PARTS}, {}, 0)
    publication, folder = PUBLICATIONS[name], None
    examples: Mapping[str, int] = {}
    status, detail = MISSING, ""
    try:
        folder = data_root(name) / source.folder
        if data_folder(name, source.folder):
            status = DAMAGED
            examples = {part: source.count(folder, part) for part in PARTS}
            status = FOUND
    except UserError as error:
        detail = str(error)
    return Presence(name, status, folder, examples, publication.examples, publication.size, detail)


def inspect(name: str) -> tuple[PartReport, ...]:
    """Reads all of a data set strictly.

    Raises:
        UserError: If there is no such data set, or it is missing or damaged.
    """
    source = source_of(name)
    reports = []
    for part in PARTS:
        labels = source.read(part).labels
        digest, stored = source.digest(part), {}
        if digest is not None:
            stored = {
                order: condition(Key(name, part, shuffled, digest))
                for order, shuffled in (("in order", False), ("shuffled", True))
            }
        counts = np.bincount(labels, minlength=source.info.classes)
        reports.append(PartReport(part, len(labels), tuple(counts.tolist()), _files(name, part), stored))
    return tuple(reports)


def _files(name: str, part: str) -> tuple[FileReport, ...]:
    source = FILE_SOURCES.get(name)
    if source is None:
        return ()
    known = {archive.file: archive.sha256 for archive in PUBLICATIONS[name].archives}
    return tuple(
        FileReport(file, file.stat().st_size, sha256, known[file.name] == sha256 if file.name in known else None)
        for file in source.files(data_folder(name, source.folder), part)
        for sha256 in (file_sha256(file),)
    )
