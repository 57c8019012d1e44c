"""Clusters of their own for tests: ``ray start`` with a process group, a home and a temporary folder of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"


@dataclass(frozen=True)
class Head:
    """A running cluster with one node.

    Attributes:
        address: ``HOST:PORT``.
        home: A ``HOME`` with the cluster's token.
        token: Its token.
    """

    address: str
    home: Path
    token: str


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which nothing says anything about Ray but ``more``."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return mine | {"HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"} | more


def run(code: str, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A driver: ``python -c CODE ARGUMENTS`` with the checkout importable."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextlib.contextmanager
def head() -> Iterator[Head]:
    """A cluster with token authentication, ended with all its processes."""
    folder = Path(tempfile.mkdtemp(prefix="r2-", dir="/tmp"))  # Ray's sockets need a short path
    home, token = folder / "home", secrets.token_hex(32)
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(token)
    port = free_port()
    options = ["--include-dashboard=false", "--num-cpus=2", "--object-store-memory=100000000", f"--temp-dir={folder}/t"]
    process = subprocess.Popen(
        [str(RAY), "start", "--head", f"--port={port}", *options, "--block"],
        env=environment(home, RAY_AUTH_MODE="token"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if "runtime started" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield Head(f"127.0.0.1:{port}", home, token)
    finally:
        kill([*descendants(process.pid), process.pid])  # asked to end, it takes half a minute
        process.communicate(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def alive(pids: Sequence[int]) -> list[int]:
    """Those that still run; zombies do not."""
    running = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.append(pid)
    return running


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether a condition came true in time."""
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


def kill(pids: Sequence[int]) -> None:
    """Kills processes and waits until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not alive(pids), 10), alive(pids)


def facts(text: str) -> Mapping[str, str]:
    """Lines ``NAME=VALUE`` of a driver's output."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
