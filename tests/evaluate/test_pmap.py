"""The process map: order, errors, one thread each, and nobody left behind."""

from __future__ import annotations

import math
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.evaluate.pmap import process_map
from rayl2o.evaluate.runner import Contender, runs
from rayl2o.rules.classic import Adam, Sgd
from rayl2o.tasks.analytic.quadratic import Quadratic
from tests.interrupting import hear_ctrl_c

DEADLINE = 120.0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A dead child that nobody has waited for is not alive.
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _gone(pids: list[int]) -> bool:
    end = time.monotonic() + DEADLINE
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_runs_are_the_same_in_processes_and_in_order() -> None:
    contenders = [Contender("sgd", Sgd(0.1)), Contender("adam", Adam(0.1), {"unused": torch.ones(2)})]
    families = {"a": Quadratic(3), "b": Quadratic(2)}
    here = list(runs(contenders, families, [1, 2], 30))
    there = list(runs(contenders, families, [1, 2], 30, pmap=process_map(2)))
    assert [(r.task, r.rule, r.seeds) for r in there] == [(r.task, r.rule, r.seeds) for r in here]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.curves.loss, other.curves.loss)


def test_one_thread_each_errors_with_traceback_and_nobody_left_behind() -> None:
    asked: list[Callable[[], object]] = [
        torch.get_num_threads,
        os.getpid,
        partial(math.sqrt, -1.0),
        partial(time.sleep, 600),  # the worker is busy with this one when the error arrives here
    ]
    results = iter(process_map(1)(operator.call, asked))
    assert next(results) == 1
    pid = next(results)
    assert isinstance(pid, int)
    assert pid != os.getpid()
    with pytest.raises(ValueError, match=r"math domain error|nonnegative") as caught:
        next(results)
    assert "math domain error" in str(caught.value.__cause__)  # the traceback of the worker
    assert _gone([pid])


def test_a_users_mistake_stays_one() -> None:
    with pytest.raises(UserError) as caught:
        list(process_map(1)(process_map, [0]))
    with pytest.raises(UserError) as direct:
        process_map(0)
    assert str(caught.value) == str(direct.value)
    assert caught.value.mend == direct.value.mend


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(how: signal.Signals) -> None:
    code = (
        "import operator, os, time\n"
        "from functools import partial\n"
        "from rayl2o.evaluate.pmap import process_map\n"
        "if __name__ == '__main__':\n"
        "    for pid in process_map(1)(operator.call, [os.getpid, partial(time.sleep, 600)]):\n"
        "        print(pid, flush=True)\n"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert _alive(worker)
    if how is signal.SIGINT:
        os.killpg(parent.pid, how)  # as a terminal does on Ctrl-C
    else:
        parent.send_signal(how)
    _, errors = parent.communicate(timeout=DEADLINE)
    assert _gone([worker])
    assert parent.returncode != 0
    assert errors.count("Traceback") <= (1 if how is signal.SIGINT else 0), errors
