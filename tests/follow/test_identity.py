from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rayl2o.follow.identity import ALIVE, ELSEWHERE, GONE, ProcessId, own, presence

HERE = ProcessId(pid=1, host="a", machine="m", boot="b", space="pid:[1]", started=5)
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def test_this_process_is_alive() -> None:
    assert own().pid == os.getpid()
    assert presence(own(), own()) == ALIVE


@linux
def test_another_process_that_got_its_number_is_not_it() -> None:
    assert own().started > 0
    assert presence(replace(own(), started=own().started - 1), own()) == GONE


def _of(pid: int) -> ProcessId:
    """The identity that a child would write of itself."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return replace(own(), pid=pid, started=int(fields[19]))


@linux
def test_a_stopped_process_is_alive_and_a_killed_one_is_gone_even_before_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        them = _of(child.pid)
        assert presence(them, own()) == ALIVE
        child.send_signal(signal.SIGSTOP)
        assert presence(them, own()) == ALIVE
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert presence(them, own()) == GONE  # a zombie
        child.wait()
        assert presence(them, own()) == GONE


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"boot": "other"}, GONE),  # the machine was started again
        ({"boot": "other", "host": "z"}, ELSEWHERE),
        ({"boot": "other", "machine": "z"}, ELSEWHERE),
        ({"space": "pid:[2]"}, ELSEWHERE),  # another container of the machine
        ({"boot": "", "host": "z"}, ELSEWHERE),
    ],
)
def test_where_a_process_was(change: dict[str, str], want: str) -> None:
    assert presence(replace(HERE, **change), HERE) == want  # type: ignore[arg-type]


def test_two_machines_without_an_id_are_not_taken_for_one() -> None:
    nameless = replace(HERE, machine="")
    assert presence(replace(nameless, boot="other"), nameless) == ELSEWHERE


def test_without_proc_host_and_number_decide() -> None:
    bare = ProcessId(pid=os.getpid(), host=own().host)
    assert presence(bare, bare) == ALIVE
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert presence(replace(bare, pid=child.pid), bare) == GONE
