from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from rayl2o.cluster.trial_limits import Deadline, TrialMemory, TrialTimeout, limited, sole_user


def test_a_deadline_is_noticed() -> None:
    Deadline(60.0).check()
    with pytest.raises(TrialTimeout, match="timeout_s=0"):
        Deadline(0.0).check()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is limited on Linux only")
def test_too_much_memory_ends_the_block_and_not_the_process() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with limited(60.0, 200):
        torch.ones(20 * 2**20)  # 84 MB
    with pytest.raises(TrialMemory, match="memory_mb=200"), limited(60.0, 200):
        torch.ones(2**28)  # 1 GB
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert float(torch.ones(2**26).sum()) == 2**26


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="mine"), limited(60.0, 0):
        raise RuntimeError("mine")


@pytest.mark.timeout(60)
def test_a_block_that_hangs_is_ended_with_its_process() -> None:
    code = (
        "import time; from rayl2o.cluster import trial_limits as t; t._GRACE_S = 0.0\n"
        "with t.limited(0.2, 0): time.sleep(600)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr


@pytest.mark.timeout(60)
def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with sole_user(tmp_path / "a"):
            order.append("second")

    other = threading.Thread(target=second)
    with sole_user(tmp_path / "a"):
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        order.append("first")
    other.join()
    assert order == ["first", "second"]
