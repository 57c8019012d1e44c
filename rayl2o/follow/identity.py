"""Which process wrote a file, and whether it still lives: not fooled by a reused pid, a reboot, a container or shared storage.

Imports nothing of ours. Reads Linux's ``/proc``; elsewhere only host and pid are compared, so a reused pid passes for alive.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

ALIVE, GONE, ELSEWHERE = "alive", "gone", "elsewhere"


@dataclass(frozen=True)
class ProcessId:
    """A process of some machine.

    Attributes:
        pid: Its number there, positive.
        host: The machine's name.
        machine: The machine's lasting id; empty if it has none.
        boot: Id of the machine's running kernel; empty if unknown. Containers of a machine share it.
        space: The process' pid namespace; empty if unknown. Two containers have different ones.
        started: When the process began, clock ticks since boot; 0 if unknown. Tells a reused pid.
    """

    pid: int
    host: str
    machine: str = ""
    boot: str = ""
    space: str = ""
    started: int = 0


def own() -> ProcessId:
    """This process."""
    pid = os.getpid()
    life = _life(pid)
    return ProcessId(
        pid=pid,
        host=socket.gethostname(),
        machine=_text(Path("/etc/machine-id")),
        boot=_text(Path("/proc/sys/kernel/random/boot_id")),
        space=_link(Path("/proc/self/ns/pid")),
        started=life[1] if life is not None else 0,
    )


def presence(process: ProcessId, here: ProcessId) -> str:
    """``alive``, ``gone``, or ``elsewhere``: where its process cannot be seen from.

    Args:
        process: The one that is asked for.
        here: The one that asks (:func:`own`).
    """
    if process.boot and here.boot:
        if process.boot != here.boot:
            same_machine = process.host == here.host and process.machine == here.machine != ""
            return GONE if same_machine else ELSEWHERE
        if process.space != here.space:
            return ELSEWHERE
    elif process.host != here.host:
        return ELSEWHERE
    if not process.started:
        return ALIVE if _answers(process.pid) else GONE
    life = _life(process.pid)
    return ALIVE if life is not None and life[0] not in "ZX" and life[1] == process.started else GONE


def _life(pid: int) -> tuple[str, int] | None:
    """State letter and start of a process of this machine, as proc(5) has them."""
    stat = _text(Path(f"/proc/{pid}/stat"))
    # The name, in parentheses, may hold anything; fields 3 (state) and 22 (start) are counted from its end.
    fields = stat.rpartition(")")[2].split()
    return (fields[0], int(fields[19])) if len(fields) > 19 else None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
