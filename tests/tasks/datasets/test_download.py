from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.datasets import download
from rayl2o.tasks.datasets.download import fetch, is_published
from tests.tasks.datasets.mirror import Mirror, archive, serving

DATA = os.urandom(200_000)
FILE = archive("a.bin", DATA)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({"/a.bin": DATA, "/deep/a.bin": DATA})) as found:
        yield found


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("base", ["", "/", "/deep/", "/deep"])
def test_a_file_arrives_whole_and_is_told_of(mirror: Mirror, tmp_path: Path, base: str) -> None:
    told: list[tuple[str, int, int]] = []
    path = fetch(FILE, [mirror.url + base], tmp_path, lambda *news: told.append(news))
    assert path.read_bytes() == DATA
    assert only(tmp_path) == ["a.bin"]
    assert told[-1] == ("a.bin", len(DATA), len(DATA))


def test_what_is_there_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(DATA)
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_resumed(mirror: Mirror, tmp_path: Path, ranges: bool) -> None:
    mirror.breaks, mirror.ranges = 2, ranges
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA
    asked = [wanted for _, wanted in mirror.asked]
    assert asked[:2] == [None, "bytes=100000-"]
    assert asked[2] == ("bytes=150000-" if ranges else "bytes=100000-")


def test_what_has_arrived_is_kept_for_the_next_run(mirror: Mirror, tmp_path: Path) -> None:
    mirror.breaks = download.ATTEMPTS
    with pytest.raises(UserError, match=r"connection ended after 175000 of 200000 bytes.*run the command again"):
        fetch(FILE, [mirror.url], tmp_path)
    assert only(tmp_path) == ["a.bin.partial"]
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA
    assert mirror.asked[-1] == ("/a.bin", "bytes=175000-")
    assert only(tmp_path) == ["a.bin"]


def test_a_length_that_is_not_told_is_no_hindrance(mirror: Mirror, tmp_path: Path) -> None:
    mirror.chunked, mirror.breaks = True, 1
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA


def test_an_interrupt_keeps_what_has_arrived(mirror: Mirror, tmp_path: Path) -> None:
    def stop(file: str, have: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(FILE, [mirror.url], tmp_path, stop)
    kept = (tmp_path / "a.bin.partial").read_bytes()
    assert kept
    assert DATA.startswith(kept)
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA


def test_a_wrong_checksum_is_refused_and_nothing_of_it_is_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/a.bin"] = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with pytest.raises(UserError, match="has not the published checksum; nothing of it was kept"):
        fetch(FILE, [mirror.url], tmp_path)
    assert only(tmp_path) == []
    assert len(mirror.asked) == 1  # it would be wrong again


def test_the_beginning_of_another_version_is_thrown_away(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "a.bin.partial").write_bytes(b"x" * 1000)
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA
    assert [wanted for _, wanted in mirror.asked] == ["bytes=1000-", None]


@pytest.mark.parametrize("extra", [0, 1, 500])
def test_a_partial_file_that_is_too_long_or_long_enough(mirror: Mirror, tmp_path: Path, extra: int) -> None:
    (tmp_path / "a.bin.partial").write_bytes(DATA + b"x" * extra)
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA
    assert len(mirror.asked) == (0 if extra == 0 else 1)


@pytest.mark.parametrize("change", [-1, 7])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_of_another_size_is_refused(mirror: Mirror, tmp_path: Path, change: int, chunked: bool) -> None:
    mirror.files["/a.bin"] = DATA[:change] if change < 0 else DATA + b"x" * change
    mirror.chunked = chunked
    with pytest.raises(UserError, match="download failed") as caught:
        fetch(FILE, [mirror.url], tmp_path)
    if not chunked:
        assert f"its size is {len(DATA) + change} bytes, that of the published file {len(DATA)}" in str(
            caught.value.value
        )
        assert only(tmp_path) == []
    assert not (tmp_path / "a.bin").exists()


def test_a_server_that_never_stops_is_cut_off(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/a.bin"] = DATA * 30
    mirror.chunked = True
    have: list[int] = []
    with pytest.raises(UserError, match="not the published checksum"):
        fetch(FILE, [mirror.url], tmp_path, lambda file, now, total: have.append(now))
    assert max(have) <= len(DATA) + download._PIECE


def test_the_next_address_is_tried(mirror: Mirror, tmp_path: Path) -> None:
    bases = [f"{mirror.url}/none", "http://127.0.0.1:1", mirror.url]
    assert fetch(FILE, bases, tmp_path).read_bytes() == DATA


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(mirror: Mirror, tmp_path: Path) -> None:
    mirror.status = [503, 429]
    assert fetch(FILE, [mirror.url], tmp_path).read_bytes() == DATA
    assert len(mirror.asked) == 3
    with pytest.raises(UserError, match="the server answers 404"):
        fetch(FILE, [f"{mirror.url}/none"], tmp_path / ".." / tmp_path.name / "..")
    assert len(mirror.asked) == 4


def test_an_answer_with_another_range_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "a.bin.partial").write_bytes(DATA[:10])
    mirror.range_shift = 1
    with pytest.raises(UserError, match="another range"):
        fetch(FILE, [mirror.url], tmp_path)


def test_a_redirection_is_followed_but_never_to_a_file(mirror: Mirror, tmp_path: Path) -> None:
    secret = tmp_path / "secret" / "a.bin"
    secret.parent.mkdir()
    secret.write_bytes(DATA)
    with serving(Mirror({}, redirect=f"{mirror.url}/a.bin")) as other:
        assert fetch(FILE, [other.url], tmp_path).read_bytes() == DATA
        (tmp_path / "a.bin").unlink()
        other.redirect = secret.as_uri()
        with pytest.raises(UserError, match="302"):
            fetch(FILE, [other.url], tmp_path)
    assert not (tmp_path / "a.bin").exists()


def test_a_folder_serves_as_mirror(tmp_path: Path) -> None:
    media, work = tmp_path / "me dia", tmp_path / "work"
    media.mkdir()
    work.mkdir()
    (media / "a.bin").write_bytes(DATA)
    (work / "a.bin.partial").write_bytes(DATA[:1234])
    assert fetch(FILE, [media.as_uri()], work).read_bytes() == DATA
    with pytest.raises(UserError, match="No such file"):
        fetch(FILE, [(tmp_path / "none").as_uri()], tmp_path)


@pytest.mark.parametrize("base", ["ftp://host/x", "x", "data:text/plain,"])
def test_addresses_of_another_kind(base: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use http, https, file"):
        fetch(FILE, [base], tmp_path)


def test_nobody_listens_and_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="refused"):
        fetch(FILE, ["http://127.0.0.1:1"], tmp_path)
    monkeypatch.setattr(download, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match="timed out"):
        fetch(FILE, [f"http://127.0.0.1:{silent.getsockname()[1]}"], tmp_path)


def test_is_published(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    assert not is_published(path, FILE)
    path.write_bytes(DATA)
    assert is_published(path, FILE)
    path.write_bytes(DATA[:-1] + b"\0" if DATA[-1] else DATA[:-1] + b"\1")
    assert not is_published(path, FILE)
