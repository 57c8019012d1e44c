"""A look at an address: what is there, without joining and without hanging."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rayl2o.cluster import probe
from tests.cluster.heads import free_port


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("head.local:1", ("head.local", 1)),
        ("[::1]:6379", ("::1", 6379)),
        ("10.0.0.1", None),
        ("10.0.0.1:", None),
        (":6379", None),
        ("10.0.0.1:0", None),
        ("10.0.0.1:65536", None),
        ("10.0.0.1:ray", None),
        ("10.0.0.1:٦", None),
        ("ray://10.0.0.1:10001", None),
        ("http://10.0.0.1:8265", None),
        ("", None),
    ],
)
def test_addresses(address: str, place: tuple[str, int] | None) -> None:
    assert probe.parse(address) == place


@pytest.mark.parametrize(
    ("named", "running", "recorded", "chosen"),
    [
        ("h:1", {"a:1"}, "a:1", ("h:1", "")),
        ("auto", {"a:1"}, None, ("a:1", "")),
        ("", {"a:1"}, None, ("a:1", "")),
        (None, {"a:1", "b:1"}, "b:1", ("b:1", "")),
        (None, {"a:1"}, "gone:1", ("a:1", "")),
        (None, {"a:1", "b:1"}, "gone:1", ("", "several found")),
        (None, set(), "gone:1", ("", "none found")),
        (None, set(), None, ("", "none found")),
    ],
)
def test_auto_means_one_cluster(
    named: str | None, running: set[str], recorded: str | None, chosen: tuple[str, str]
) -> None:
    assert probe.choose(named, frozenset(running), recorded) == chosen


@pytest.mark.timeout(60)
def test_a_closed_port_is_unreachable() -> None:
    address = f"127.0.0.1:{free_port()}"
    assert probe.look(address) == {"address": address, "problem": "unreachable", "detail": "Connection refused"}


@pytest.mark.timeout(60)
def test_a_host_that_does_not_exist_is_unreachable() -> None:
    seen = probe.look("no-such-host.invalid:6379")
    assert seen["problem"] == "unreachable"
    assert seen["detail"]


@pytest.mark.timeout(60)
def test_a_port_where_something_else_listens_does_not_hang() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert probe.look(address, timeout_s=5)["problem"] == "silent"


def test_a_program_that_dies_is_silence_with_its_first_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def died(*args: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], -6, stdout="", stderr="\nCheck failed\nand a long stack")

    monkeypatch.setattr(subprocess, "run", died)
    assert probe.look("h:1") == {"address": "h:1", "problem": "silent", "detail": "Check failed"}


def test_it_runs_where_the_package_is_not_importable_and_shadows_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-P", probe.__file__, "malformed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={})
    assert json.loads(done.stdout.splitlines()[-1])["problem"] == "malformed"
    assert done.stderr == ""
