"""Nobody waits, and nothing staler than the bound is ever learned from."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.asynchronous import slow_first
from benchmarks.faults import LEARNER, titled
from rayl2o import folder
from rayl2o.cluster import train as training
from rayl2o.cluster.asynchronous import ARRIVAL, BUFFER, UPDATE
from rayl2o.cluster.train import resume, train
from rayl2o.config import RunConfig, load
from rayl2o.telemetry import Progress
from tests.cli.command import TINY

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("ray_local")]


def _config(workers: int, bound: int, *more: str) -> RunConfig:
    runtime = (
        "runtime.kind=local",
        "runtime.mode=asynchronous",
        f"runtime.workers={workers}",
        f"runtime.max_staleness={bound}",
        "runtime.worker.num_cpus=0",
    )
    return load("quickstart", [*TINY, "slots=4", *runtime, *more])


def test_a_slow_worker_holds_nobody_up_and_the_bound_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "start_worker", slow_first)
    rounds: list[int] = []
    config = _config(3, 1, "runtime.batch=2", "updates=40")
    done = train(config, tmp_path / "run", lambda progress: rounds.append(progress.round))
    assert done.train.updates == 40
    assert rounds == list(range(1, 41))
    assert max(done.workers.staleness) <= 1
    assert sum(done.workers.staleness.values()) > 40
    assert sum(done.workers.drops.get(why, 0) for why in (ARRIVAL, BUFFER, UPDATE)) > 0
    told = done.to_json()
    assert told["staleness"]["max"] <= 1
    assert set(told["drops"]) <= {ARRIVAL, BUFFER, UPDATE, "late", "lost"}


def test_stopped_with_a_curriculum_and_resumed_it_ends(tmp_path: Path) -> None:
    more = ("updates=16", "curriculum.kind=algorithm1", "curriculum.period=4", "output.checkpoint_every=3")
    seen: list[int] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.round)
        if progress.round == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_config(2, 4, *more), tmp_path / "run", stop)
    begun: list[int] = []

    def kill(progress: Progress) -> None:
        begun.append(progress.round)
        if progress.round == 12 and begun.count(12) == 1:
            (learner,) = titled(LEARNER, [_raylet()])
            os.kill(learner.pid, signal.SIGKILL)

    done = resume(tmp_path / "run", on_round=kill)
    assert begun[0] <= 7, "it goes on from the newest checkpoint"
    assert done.train.status in ("finished", "converged")
    assert done.workers.restarts["learner"] == 1
    found = folder.load_newest(tmp_path / "run")
    assert found is not None
    assert found[0].round == done.train.updates
    assert [row["round"] for row in found[1]] == [float(r) for r in range(1, done.train.updates + 1)]


def _raylet() -> int:
    from ray._private import worker

    node: Any = worker._global_node
    return int(node.all_processes["raylet"][0].process.pid)
