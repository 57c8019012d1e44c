"""Takes known files out of a tar file that may be hostile: what is not exactly what was published is refused as a whole."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn

from rayl2o.errors import UserError

_MEMBERS = 64
_OTHER_BYTES = 2**20
"""What files that are not wanted (a readme) may have together."""


def unpack(archive: Path, folder: str, members: Mapping[str, int], target: Path, mend: str) -> None:
    """Writes the wanted files of a gzipped tar file into an existing folder, plain files of our own making, synced.

    Args:
        archive: The tar file.
        folder: In it, where the wanted files lie.
        members: Their names, each with the largest size in bytes that it may have.
        target: Where they go.
        mend: What to do about a bad archive.

    Raises:
        UserError: If the archive is damaged, holds a path that leads out of it, a link, a device, too much, a file twice, or not
            all that is wanted.
        OSError: If the target cannot be written.
    """
    wanted, found, other = dict(members), set[str](), 0

    def refuse(what: str, value: object) -> NoReturn:
        raise UserError(f"{archive.name}: {what}", value=value, mend=mend)

    try:
        with tarfile.open(archive, "r|gz") as tar:
            for number, member in enumerate(tar):
                path = PurePosixPath(member.name)
                if number >= _MEMBERS:
                    refuse("archive holds more than it should, files", number + 1)
                if path.is_absolute() or ".." in path.parts:
                    refuse("archive holds a path that leads out of it", member.name)
                if member.isdir():
                    continue
                if not member.isreg():
                    refuse("archive holds something that is no plain file", member.name)
                if path.parent != PurePosixPath(folder) or path.name not in wanted:
                    other += member.size
                    if other > _OTHER_BYTES:
                        refuse("archive holds a large file that does not belong there", member.name)
                    continue
                if path.name in found or member.size > wanted[path.name]:
                    refuse(f"archive holds {member.name} twice, or larger than it should be, bytes", member.size)
                found.add(path.name)
                _write(tar, member, target / path.name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        refuse("archive is damaged", str(error))
    if missing := sorted(wanted.keys() - found):
        refuse("archive lacks a file", missing[0])


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    with source, path.open("xb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
    if path.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
