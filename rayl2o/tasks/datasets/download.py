"""Downloads one file: goes on where an earlier attempt ended, and keeps nothing whose checksum is wrong."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from rayl2o.checkpoint import sync
from rayl2o.errors import UserError
from rayl2o.tasks.datasets.archives import Archive

SCHEMES = ("http", "https", "file")
ATTEMPTS = 3
"""Per address; each goes on where the one before ended."""
PAUSE = 1.0
"""Seconds before the second attempt; doubled for every further one."""

_TIMEOUT = 30.0
_PIECE = 2**18
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")

Stream = BinaryIO | http.client.HTTPResponse
Told = Callable[[str, int, int], None]
"""Is told the file's name, the bytes that are there and the bytes that there will be."""


class _Interrupted(Exception):
    """The connection failed or ended early: what came is kept, and another attempt goes on from there."""


class _Refused(Exception):
    """This address has not what is wanted; another attempt would find the same."""


def fetch(archive: Archive, bases: Sequence[str], folder: Path, told: Told | None = None) -> Path:
    """A file as published, in ``folder``.

    While it comes it is called ``NAME.partial``; interrupted, it stays and the next call goes on with it, from whatever
    address. A file of the right name and checksum is not fetched again.

    Args:
        archive: What to fetch.
        bases: Addresses (http, https, file) that the name is appended to, tried in order.
        folder: An existing folder.
        told: Called as bytes arrive.

    Raises:
        UserError: If no address gives the file, or what it gives is not the published file.
        OSError: If the folder cannot be written.
    """
    done = folder / archive.file
    if is_published(done, archive):
        return done
    reasons = []
    for base in bases:
        url = f"{base.rstrip('/')}/{archive.file}"
        try:
            return _fetch(archive, url, done, told)
        except (_Interrupted, _Refused) as error:
            reasons.append(f"{url}: {error}")
    mend = "run the command again, what has arrived is kept; or name a mirror with --from URL"
    raise UserError("download failed", value="; ".join(reasons), mend=mend)


def is_published(path: Path, archive: Archive) -> bool:
    """Whether a file is there and is, byte for byte, the published one."""
    try:
        if path.stat().st_size != archive.size:
            return False
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                md5.update(piece)
                sha256.update(piece)
    except OSError:
        return False
    return (md5.hexdigest(), sha256.hexdigest()) == (archive.md5, archive.sha256)


def _fetch(archive: Archive, url: str, done: Path, told: Told | None) -> Path:
    partial = done.with_name(f"{archive.file}.partial")
    for attempt in range(ATTEMPTS):
        resumed = partial.exists()
        try:
            _transfer(archive, url, partial, told)
        except _Interrupted:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt)
            continue
        if is_published(partial, archive):
            sync(partial)
            os.replace(partial, done)
            return done
        partial.unlink()
        if not resumed:  # else the beginning may have been another version of the file: once more, from the start
            break
    raise _Refused("what came has not the published checksum; nothing of it was kept")


def _transfer(archive: Archive, url: str, partial: Path, told: Told | None) -> None:
    """Appends to ``partial`` until it is as long as the published file.

    Raises:
        _Interrupted: If it has become longer, if at all, but not long enough.
        _Refused: If the address has no such file, or one of another size.
    """
    offset = partial.stat().st_size if partial.exists() else 0
    if offset >= archive.size:
        return
    response, start, length = _open(url, offset)
    with response:
        if length is not None and start + length != archive.size:
            raise _Refused(f"its size is {start + length} bytes, that of the published file {archive.size}")
        with partial.open("r+b" if start else "wb") as file:
            file.seek(start)
            have = start
            while have <= archive.size and (piece := _read(response)):
                file.write(piece)
                have += len(piece)
                if told is not None:
                    told(archive.file, have, archive.size)
    if have < archive.size:
        raise _Interrupted(f"the connection ended after {have} of {archive.size} bytes")


def _open(url: str, offset: int) -> tuple[Stream, int, int | None]:
    """A stream of the file from ``offset`` on, or from 0 where the server cannot; where it starts; how long it is, if known.

    Raises:
        _Interrupted, _Refused: If it cannot be opened.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise UserError("address of a kind that is not fetched", value=url, mend=f"use {', '.join(SCHEMES)}")
    if parts.scheme == "file":
        return _open_file(Path(unquote(parts.path)), offset)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "rayl2o"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response = _opener().open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        kind = _Interrupted if error.code >= 500 or error.code in (408, 429) else _Refused
        raise kind(f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _Interrupted(str(error.reason)) from None
    except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: not a valid address
        raise _Interrupted(str(error) or type(error).__name__) from None
    return response, _start(response, offset), response.length


def _open_file(path: Path, offset: int) -> tuple[Stream, int, int | None]:
    try:
        file = path.open("rb")
        file.seek(offset)
        return file, offset, path.stat().st_size - offset
    except OSError as error:
        raise _Refused(str(error.strerror)) from None


def _start(response: http.client.HTTPResponse, offset: int) -> int:
    """Where the answer to a request for the bytes from ``offset`` on begins."""
    if response.status != http.client.PARTIAL_CONTENT:
        return 0  # a server without ranges sends the whole file
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset:
        raise _Refused("the server answers with another range than it was asked for")
    return offset


def _read(response: Stream) -> bytes:
    try:
        return response.read(_PIECE)
    except (http.client.HTTPException, OSError) as error:
        raise _Interrupted(f"the connection broke ({error or type(error).__name__})") from None


def _opener() -> urllib.request.OpenerDirector:
    """Proxies of the environment and redirections, but never to a file or to ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
