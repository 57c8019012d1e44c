"""An HTTP server on loopback that behaves well or badly, and archives small enough to be published by it."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from rayl2o.tasks.datasets.archives import Archive, Publication
from tests.tasks.datasets.cifar_files import column, records
from tests.tasks.datasets.idx_files import idx_bytes


@dataclass
class Mirror:
    """What a server has and how it behaves.

    Attributes:
        files: Content by path.
        ranges: Whether it answers a request for a range with one.
        breaks: How many answers break off half way.
        status: Answers that come before any other: status codes.
        range_shift: Added to where a range is said to begin.
        chunked: Whether it keeps the length to itself.
        redirect: Where it sends everybody.
        asked: Path and ``Range`` header of every request.
    """

    files: dict[str, bytes]
    ranges: bool = True
    breaks: int = 0
    status: list[int] = field(default_factory=list)
    range_shift: int = 0
    chunked: bool = False
    redirect: str | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        wanted = handler.headers.get("Range")
        self.asked.append((handler.path, wanted))
        if self.status:
            return handler.send_error(self.status.pop(0))
        if self.redirect is not None:
            handler.send_response(302)
            handler.send_header("Location", self.redirect)
            return handler.end_headers()
        body = self.files.get(handler.path)
        if body is None:
            return handler.send_error(404)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        rest = body[start:]
        handler.send_response(206 if start else 200)
        if start:
            first = start + self.range_shift
            handler.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if not self.chunked:
            handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        if self.breaks:
            self.breaks -= 1
            rest = rest[: len(rest) // 2]
        with suppress(ConnectionError):  # a client that has enough hangs up
            handler.wfile.write(rest)
        return None


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """The mirror at its ``url``, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        mirror.url = f"http://127.0.0.1:{server.server_port}"
        yield mirror
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def archive(name: str, data: bytes) -> Archive:
    """The description of a file."""
    return Archive(name, len(data), hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest())


def mnist_files(count: int = 6) -> dict[str, bytes]:
    """The four files of a small MNIST by name."""
    pixels = (np.arange(count * 784) % 251).astype(np.uint8).reshape(count, 28, 28)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return {
        f"{stem}-{kind}-ubyte.gz": gzip.compress(idx_bytes(array), mtime=0)
        for stem in ("train", "t10k")
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels))
    }


def mnist_publication(files: Mapping[str, bytes], *bases: str) -> Publication:
    """A small MNIST as published."""
    archives = tuple(archive(name, data) for name, data in files.items())
    return Publication("mnist", bases, archives, {"train": 6, "test": 6})


def cifar_members() -> dict[str, bytes]:
    """The files of a small CIFAR-10 by name."""
    return {
        "data_batch_1.bin": records(column(1, 2, 3)),
        "data_batch_2.bin": records(column(4, 5), 1),
        "test_batch.bin": records(column(6, 7), 2),
        "batches.meta.txt": b"airplane\n",
    }


def tar_bytes(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A gzipped tar file; a member that is a ``TarInfo`` has no content of its own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def cifar_archive() -> bytes:
    """A small CIFAR-10 as a tar file, with a folder and a readme in it."""
    folder = tarfile.TarInfo()
    folder.type = tarfile.DIRTYPE
    inside = {f"cifar-10-batches-bin/{name}": data for name, data in cifar_members().items()}
    return tar_bytes({"cifar-10-batches-bin": folder, **inside, "cifar-10-batches-bin/readme.html": b"<p>"})


def cifar_publication(data: bytes, *bases: str) -> Publication:
    """It as published."""
    sizes = {name: len(content) for name, content in cifar_members().items()}
    archives = (archive("cifar-10-binary.tar.gz", data),)
    return Publication("cifar-10-batches-bin", bases, archives, {"train": 5, "test": 2}, sizes)
