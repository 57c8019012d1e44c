"""Runs the command line in processes that SIGKILL themselves at a chosen point: real kills, but at points that can be named.

One server process loads torch and forks a child per command, which saves every child the seconds of loading.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code, negative for a signal.
        out, err: What it said.
        calls: Python calls made; -1 if it was killed, 0 if they were not counted.
        files: Files and folders below ``watched`` that were opened, renamed, made or removed, in order.
    """

    code: int
    out: str
    err: str
    calls: int
    files: tuple[str, ...]


class Server:
    """A context manager around the server process."""

    def __init__(self, scratch: Path, warm: Sequence[str]) -> None:
        """``warm``: arguments of a verb with ``--out`` that loads whatever the others need."""
        self._scratch, self._warm = scratch, warm
        scratch.mkdir()

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "CUDA_VISIBLE_DEVICES": "",
            },  # autograd starts threads for devices, which a fork would lose
        )
        self._send(self._warm)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def run(
        self,
        args: Sequence[object],
        watched: Path,
        call: int | None = None,
        file: int | None = None,
        count: bool = False,
    ) -> Ended:
        """``rayl2o ARGS...``, killed at the ``call``-th Python call or the ``file``-th touch of a file below ``watched``.

        Calls are counted only where ``count`` or ``call`` asks for it.
        """
        assert self._process.stdout is not None
        names = {name: str(self._scratch / name) for name in ("out", "err", "calls", "files")}
        for name in names.values():
            Path(name).write_text("")
        order = {
            "args": [str(a) for a in args],
            "watched": str(watched),
            "call": call,
            "file": file,
            "count": count,
            **names,
        }
        self._send(order)
        code = int(self._process.stdout.readline())
        read = {name: Path(path).read_text() for name, path in names.items()}
        return Ended(code, read["out"], read["err"], int(read["calls"] or "-1"), tuple(read["files"].splitlines()))

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()


def _serve() -> None:
    """Runs ``main`` once, so that a child finds everything loaded, then forks a child per line of stdin."""
    from rayl2o.cli import main

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        assert main([*json.loads(sys.stdin.readline()), "--out", f"{folder}/warm"]) == 0
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(order)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _child(order: dict[str, Any]) -> None:
    from rayl2o.cli import main

    sys.stdout, sys.stderr = open(order["out"], "w"), open(order["err"], "w")  # noqa: SIM115 (they live as long as the process)
    log = os.open(order["files"], os.O_WRONLY)
    counted = {"calls": 0, "files": 0}

    def touched(event: str, args: tuple[Any, ...]) -> None:
        if (
            event.partition(".")[0] not in {"open", "os", "shutil"}
            or not args
            or not isinstance(args[0], str | os.PathLike)
        ):
            return
        path = os.fspath(args[0])
        # How often these are written depends on the clock, and a kill's place must not.
        if not path.startswith(order["watched"]) or "status.json" in path or "/events" in path:
            return
        counted["files"] += 1
        os.write(log, f"{event} {os.fspath(args[0])}\n".encode())
        if counted["files"] == order["file"]:
            os.kill(os.getpid(), signal.SIGKILL)

    def called(_frame: object, event: str, _arg: object) -> None:
        if event == "call":
            counted["calls"] += 1
            if counted["calls"] == order["call"]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(touched)
    if order["count"] or order["call"] is not None:
        sys.setprofile(called)
    code = main(order["args"])
    sys.setprofile(None)
    sys.stdout.flush()
    sys.stderr.flush()
    Path(order["calls"]).write_text(str(counted["calls"]))
    os._exit(code)


if __name__ == "__main__":
    _serve()
