"""A search in a process of its own: arrays and JSON over a folder, a time limit that ends the whole group, a memory cap.

Imports nothing that imports torch: a search never runs beside it (Julia's and torch's runtimes do not live together).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rayl2o

LOG = "log.txt"
_X, _Y, _SETTINGS = "x.npy", "y.npy", "settings.json"
_TAIL = 1500
_STATUS = Path("/proc/self/status")
_PARENT = "RAYL2O_PARENT"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit status, negative for a signal.
        timed_out: Whether it was killed because its time was up.
        tail: The end of what it wrote.
    """

    code: int
    timed_out: bool
    tail: str

    @property
    def last(self) -> str:
        """The last line that it wrote: of a traceback, the error."""
        return (self.tail.splitlines() or [""])[-1]


def write_job(folder: Path, x: NDArray[np.float64], y: NDArray[np.float64], settings: Mapping[str, object]) -> None:
    """Writes what a search needs: ``x [R, P]``, ``y [R]`` and JSON-able settings."""
    np.save(folder / _X, np.ascontiguousarray(x, dtype=np.float64), allow_pickle=False)
    np.save(folder / _Y, np.ascontiguousarray(y, dtype=np.float64), allow_pickle=False)
    (folder / _SETTINGS).write_text(json.dumps(dict(settings)))


def read_job(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, Any]]:
    """Inverse of :func:`write_job`."""
    x = np.load(folder / _X, allow_pickle=False)
    y = np.load(folder / _Y, allow_pickle=False)
    settings: dict[str, Any] = json.loads((folder / _SETTINGS).read_text())
    return x, y, settings


def run(
    arguments: Sequence[str], folder: Path, timeout_s: float, environment: Mapping[str, str] | None = None
) -> Ended:
    """Runs this Python with ``arguments`` in ``folder`` until it ends or ``timeout_s`` wall seconds are over.

    The process leads a group of its own, which is killed as a whole when time is up or the caller is interrupted.
    Its output goes to ``folder/log.txt``.
    """
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            (sys.executable, *arguments),
            cwd=folder,
            env=_environment(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    tail = (folder / LOG).read_bytes()[-_TAIL:].decode(errors="replace").strip()
    return Ended(process.returncode, timed_out, tail)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    root = str(Path(rayl2o.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": path, _PARENT: str(os.getpid()), **extra}


def end_with_parent() -> None:
    """Has the system kill this process when the one that called :func:`run` is gone: a killed trial leaves no search behind.

    On Linux; elsewhere the search goes on to its own end.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != int(os.environ.get(_PARENT, os.getppid())):  # it was gone before it could be asked for
        os._exit(1)


def limit_memory(megabytes: int) -> None:
    """Caps the private writable memory of this process at ``megabytes`` above what it has now; 0 for no cap.

    Data, not address space: Julia reserves far more addresses than it uses. Nothing happens where the system cannot say.
    """
    if not megabytes or not _STATUS.is_file():
        return
    used = next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith("VmData:")) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, sees either the old content or the new."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)
