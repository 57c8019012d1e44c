"""Real processes: what they get, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rayl2o.symbolic.engines import operon_process, own_process, pysr_process
from rayl2o.symbolic.engines.own_process import read_job, run, write_job, write_whole


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    x, y = np.arange(6.0).reshape(2, 3)[:, ::-1], np.array([0.1, -np.pi])
    write_job(tmp_path, x, y, {"seed": 3, "operators": ("+", "*")})
    read_x, read_y, settings = read_job(tmp_path)
    np.testing.assert_array_equal(read_x, x)
    np.testing.assert_array_equal(read_y, y)
    assert settings == {"seed": 3, "operators": ["+", "*"]}


def test_an_object_array_is_not_read(tmp_path: Path) -> None:
    write_job(tmp_path, np.zeros((1, 1)), np.zeros(1), {})
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        read_job(tmp_path)


def test_status_output_and_environment(tmp_path: Path) -> None:
    code = "import os, sys, rayl2o; print(os.environ['WORD'], sys.stdin.read() == ''); sys.exit(3)"
    ended = run(("-c", code), tmp_path, 60, {"WORD": "here"})
    assert (ended.code, ended.timed_out, ended.tail) == (3, False, "here True")


def test_time_over_ends_the_whole_group(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        "open('part', 'w').write(str(child.pid))\n"
        "import os; os.rename('part', 'child')\n"
        "time.sleep(300)"
    )
    for limit_s in (1.5, 6, 24):  # a busy machine may need longer to come as far as the file
        ended = run(("-c", code), tmp_path, limit_s)
        if (tmp_path / "child").is_file():
            break
    assert ended.timed_out
    assert ended.code < 0
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if _gone(child):
            break
        time.sleep(0.05)
    assert _gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="the system does it on Linux only")
def test_a_search_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    child = (
        "from rayl2o.symbolic.engines.own_process import end_with_parent; import os, time\n"
        "end_with_parent(); open('part', 'w').write(str(os.getpid())); os.rename('part', 'child'); time.sleep(300)"
    )
    parent = (
        "from rayl2o.symbolic.engines.own_process import run; from pathlib import Path; import sys\n"
        f"run(('-c', {child!r}), Path(sys.argv[1]), 300)"
    )
    with subprocess.Popen([sys.executable, "-c", parent, str(tmp_path)]) as started:
        assert _soon(lambda: (tmp_path / "child").is_file(), 1200)
        started.kill()
    pid = int((tmp_path / "child").read_text())
    assert _soon(lambda: _gone(pid), 200)


def _soon(holds: Callable[[], bool], tries: int) -> bool:
    for _ in range(tries):
        if holds():
            return True
        time.sleep(0.05)
    return False


def _gone(pid: int) -> bool:
    """Whether a process has ended (one that waits for its parent to look counts as ended)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.is_file() and status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not say what a process uses")
def test_the_memory_cap_holds_in_the_child(tmp_path: Path) -> None:
    code = f"from {own_process.__name__} import limit_memory; limit_memory(100); b'x' * {{}}; print('done')"
    assert run(("-c", code.format(10**7)), tmp_path, 60).tail == "done"
    ended = run(("-c", code.format(3 * 10**8)), tmp_path, 60)
    assert ended.code == 1
    assert "MemoryError" in ended.tail


@pytest.mark.parametrize("module", [operon_process.__name__, pysr_process.__name__])
def test_a_process_of_a_search_has_neither_torch_nor_julia_before_it_begins(module: str, tmp_path: Path) -> None:
    code = f"import sys, {module}; print({{'torch', 'ray', 'juliacall', 'pyoperon'}} & set(sys.modules))"
    assert run(("-c", code), tmp_path, 60).tail == "set()"


def test_a_whole_file_replaces_the_old_one(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_whole(tmp_path / "f.json", text)
        assert (tmp_path / "f.json").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]
