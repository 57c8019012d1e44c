"""Real faults to a run on Ray: its processes are found by their titles below given raylets, and get signals; files are torn.

Other people's Ray on the machine is never touched: only descendants of the processes that are named here.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

WORKER, LEARNER = "ray::RolloutWorker", "ray::Learner"
ROLLOUT = f"{WORKER}.rollout"
"""Title of a worker while it computes a roll-out."""
_POLL_S = 0.002


@dataclass(frozen=True)
class Running:
    """A process.

    Attributes:
        pid: Process id.
        born: Its start in clock ticks since boot, so that a process id used again is not taken for it.
    """

    pid: int
    born: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        status = _status(self.pid)
        return status is not None and status[2] == self.born and status[0] != "Z"

    @property
    def title(self) -> str:
        """Its command line, which Ray rewrites."""
        with contextlib.suppress(OSError):
            return (Path("/proc") / str(self.pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return ""

    def send(self, number: int) -> bool:
        """Sends a signal; whether there was still somebody to get it."""
        if not self.alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def running_below(roots: Iterable[int]) -> list[Running]:
    """These processes and all their descendants."""
    table = {int(entry.name): _status(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    children: dict[int, list[int]] = {}
    for pid, status in table.items():
        if status is not None:
            children.setdefault(status[1], []).append(pid)
    found = [pid for pid in roots if table.get(pid) is not None]
    for pid in found:
        found += children.get(pid, [])
    return [Running(pid, status[2]) for pid in found if (status := table[pid]) is not None]


def titled(title: str, roots: Iterable[int]) -> list[Running]:
    """Living descendants whose title begins so."""
    return [one for one in running_below(roots) if one.alive and one.title.startswith(title)]


def idle_workers(roots: Iterable[int]) -> list[Running]:
    """Workers that compute nothing at the moment."""
    return [one for one in titled(WORKER, roots) if "." not in one.title]


def wait_for(condition: Callable[[], object], seconds: float, poll_s: float = 0.05) -> bool:
    """Whether a condition came true in time."""
    by = time.monotonic() + seconds
    while time.monotonic() < by:
        if condition():
            return True
        time.sleep(poll_s)
    return bool(condition())


def catch(title: str, roots: Sequence[int], draws: random.Random, seconds: float = 20.0) -> Running:
    """One process with that title, as soon as there is one.

    Raises:
        TimeoutError: If none appears in time.
    """
    by = time.monotonic() + seconds
    while time.monotonic() < by:
        found = idle_workers(roots) if title == WORKER else titled(title, roots)
        if found:
            return draws.choice(found)
        if title == WORKER and time.monotonic() > by - seconds / 2 and (busy := titled(WORKER, roots)):
            return draws.choice(busy)  # all are busy all the time
        time.sleep(_POLL_S)
    raise TimeoutError(f"no process {title!r} within {seconds:.0f} s")


def slow(process: Running, seconds: float, share: float = 0.1, period_s: float = 0.1) -> threading.Thread:
    """Lets a process run only that share of the time, for so many seconds, from a thread that is returned."""

    def throttle() -> None:
        by = time.monotonic() + seconds
        while time.monotonic() < by and process.send(signal.SIGSTOP):
            time.sleep(period_s * (1 - share))
            process.send(signal.SIGCONT)
            time.sleep(period_s * share)
        process.send(signal.SIGCONT)

    thread = threading.Thread(target=throttle, daemon=True)
    thread.start()
    return thread


def end_all(processes: Sequence[Running], grace_s: float = 5.0) -> list[Running]:
    """Waits until these processes are gone, then kills the rest; returns those that had to be killed."""
    wait_for(lambda: not any(one.alive for one in processes), grace_s)
    left = [one for one in processes if one.alive]
    for one in left:
        one.send(signal.SIGKILL)
    return left


def checkpoints(out: Path) -> list[Path]:
    """Folders of a run's checkpoints, the newest last, sound or not."""
    return sorted((out / "checkpoints").glob("step-*"))


def tear(checkpoint: Path, draws: random.Random) -> str:
    """Damages a checkpoint as a crash or a bad disk does; says how."""
    file = draws.choice([checkpoint / "tensors.safetensors", checkpoint / "manifest.json"])
    data = bytearray(file.read_bytes())
    if draws.random() < 0.5:
        how, data = "truncated", data[: draws.randrange(len(data))]
    else:
        place = draws.randrange(len(data))
        how, data[place] = "flipped a byte", data[place] ^ 0x5A
    file.write_bytes(data)
    return f"{how} in {checkpoint.name}/{file.name}"


def _status(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start of a process; None if it is gone."""
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return fields[0], int(fields[1]), int(fields[19])
