"""Gets a published data set into the data folder: download, checksums, unpacking, a strict read, and only then its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rayl2o.checkpoint import sync
from rayl2o.errors import UserError
from rayl2o.tasks.data import load
from rayl2o.tasks.datasets.archives import PUBLICATIONS, Publication
from rayl2o.tasks.datasets.base import PARTS, FileSource
from rayl2o.tasks.datasets.download import Told, fetch, is_published
from rayl2o.tasks.datasets.folder import data_root
from rayl2o.tasks.datasets.lock import locked
from rayl2o.tasks.datasets.registry import SOURCES, file_source
from rayl2o.tasks.datasets.unpack import unpack

SET_ASIDE = ".set-aside"


@dataclass(frozen=True)
class Prepared:
    """What :func:`prepare` did.

    Attributes:
        folder: Of the data set.
        fetched: Names of the files that were put there; empty if what was there is whole.
        set_aside: New names of files that were in the way.
        examples: Their number by part.
    """

    folder: Path
    fetched: tuple[str, ...]
    set_aside: tuple[str, ...]
    examples: dict[str, int]


def prepare(name: str, base: str | None = None, *, replace: bool = False, told: Told | None = None) -> Prepared:
    """Has a data set in ``$RAYL2O_DATA`` and in the store of this machine.

    What is there and reads well stays as it is, published or not. Otherwise the published files are fetched and put in place
    one by one, each whole; interrupted at any moment, the next call goes on.

    Args:
        name: A data set of files.
        base: Address to use instead of the publisher's: a mirror, or ``file:`` for a folder.
        replace: Fetch the published files even if there are others that read well.
        told: Called as bytes arrive.

    Raises:
        UserError: If the data set has no published files, ``RAYL2O_DATA`` is not set or cannot be written, another process
            prepares the same one, or the download fails.
    """
    source, publication = _published(name)
    root = data_root(name)
    target = (root / publication.folder).resolve()
    fetched: Sequence[str] = ()
    aside: Sequence[str] = ()
    if replace or not _reads_well(source, target):
        try:
            with _workplace(target) as work:
                staged, fetched = _staged(publication, [base] if base else publication.bases, target, work, told)
                for part in PARTS:
                    source.read_files(staged, part)
                aside = _place(source, staged, fetched, target)
        except OSError as error:
            mend = f"free space on its disk, make {root} writable, or set $RAYL2O_DATA to another folder"
            raise UserError(f"cannot write the data ({error})", value=str(target), mend=mend) from error
    return Prepared(target, tuple(fetched), tuple(aside), {part: len(load(name, part).labels) for part in PARTS})


def _published(name: str) -> tuple[FileSource, Publication]:
    source = file_source(name)
    if source is None or name not in PUBLICATIONS:
        mend = f"prepare one of {', '.join(PUBLICATIONS)}" if name in SOURCES else "its library fetches it"
        raise UserError("nothing is published to prepare this data set from", value=name, mend=mend)
    return source, PUBLICATIONS[name]


def _reads_well(source: FileSource, folder: Path) -> bool:
    try:
        for part in PARTS:
            source.read_files(folder, part)
    except (UserError, OSError):
        return False
    return True


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A folder beside the target for what is not finished, for one process at a time; what has arrived outlives a failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.parent / f".{target.name}.download"
    try:
        with locked(target.parent, wait=False):
            work.mkdir(exist_ok=True)
            try:
                yield work
                shutil.rmtree(work)
            finally:
                with suppress(OSError):
                    work.rmdir()  # if nothing has arrived
    except BlockingIOError:
        mend = "wait for it to end"
        raise UserError("another process prepares data in this folder", value=str(target.parent), mend=mend) from None


def _staged(
    publication: Publication, bases: Sequence[str], target: Path, work: Path, told: Told | None
) -> tuple[Path, list[str]]:
    """A folder with all published files, and the names of those that the target lacks."""
    if publication.members:
        unpacked = work / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        for archive in publication.archives:
            file = fetch(archive, bases, work, told)
            unpacked.mkdir()
            unpack(file, publication.folder, publication.members, unpacked, "name another mirror with --from URL")
        return unpacked, list(publication.members)
    lacking = []
    for archive in publication.archives:
        if is_published(target / archive.file, archive):
            shutil.copyfile(target / archive.file, work / archive.file)
        else:
            fetch(archive, bases, work, told)
            lacking.append(archive.file)
    return work, lacking


def _place(source: FileSource, staged: Path, names: Sequence[str], target: Path) -> list[str]:
    """Moves files to their place, each at once, and renames others that the reader would take instead; the new names."""
    target.mkdir(exist_ok=True)
    for name in names:
        os.replace(staged / name, target / name)
    published = set(PUBLICATIONS[source.name].members) or {a.file for a in PUBLICATIONS[source.name].archives}
    aside = []
    for path in sorted(target.iterdir()):
        if source.reads(path.name) and path.name not in published:
            os.replace(path, path.with_name(path.name + SET_ASIDE))
            aside.append(path.name + SET_ASIDE)
    sync(target)
    return aside
