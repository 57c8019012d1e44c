"""What a trial may use, enforced in its process: time, and on Linux memory."""

from __future__ import annotations

import faulthandler
import fcntl
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE = 1.25
"""A trial that does not notice its deadline, because it hangs in a call, ends with its process this much later."""
_GRACE_S = 5.0
_NO_MEMORY = ("allocate memory", "failed to map segment")
"""What torch, the system and its loader of libraries say."""
_STATUS = Path("/proc/self/status")


class TrialTimeout(Exception):
    """A trial has used up its time."""


class TrialMemory(Exception):
    """A trial has used up its memory."""


class Deadline:
    """The end of a trial's time."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def check(self) -> None:
        """Raises TrialTimeout once the time is up."""
        if self.elapsed > self._seconds:
            raise TrialTimeout(f"ran past timeout_s={self._seconds:g}")


@contextmanager
def limited(timeout_s: float, memory_mb: int) -> Iterator[Deadline]:
    """Limits the block. What is out of memory inside raises TrialMemory.

    A block that hangs past its deadline is ended with its process by a timer thread that needs no lock of Python's.
    """
    faulthandler.dump_traceback_later(timeout_s * GRACE + _GRACE_S, exit=True, file=sys.__stderr__ or 2)
    try:
        with _memory(memory_mb):
            yield Deadline(timeout_s)
    except Exception as error:
        if isinstance(error, MemoryError) or any(text in str(error).lower() for text in _NO_MEMORY):
            raise TrialMemory(
                f"used up memory_mb={memory_mb}" if memory_mb else "the machine is out of memory"
            ) from error
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _memory(megabytes: int) -> Iterator[None]:
    used = _data_bytes()
    if not megabytes or used is None:
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def _data_bytes() -> int | None:
    """Private writable memory of this process; None where the system does not say."""
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return None


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Waits until no other process uses a folder: the trial of a killed study may outlive it for some seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
