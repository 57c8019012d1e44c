"""Where the runtime saturates: real controller, real learner, real messages; workers that sleep instead of rolling out.

``python benchmarks/ray_scaling.py [--roll-out-s 1.0] [--workers 8 64 256 1024]``. A virtual worker is a name in one of a few host
processes, which sleeps for the length of a roll-out and then returns a segment (or a gradient) that was recorded once, so that
1,024 of them fit on a small machine. Writes ``benchmarks/results/ray-scaling.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray
import torch

from rayl2o import folder
from rayl2o.cluster.connect import connected
from rayl2o.cluster.greeting import Greeting, greet
from rayl2o.cluster.learner import Report
from rayl2o.cluster.pinned import pin
from rayl2o.cluster.pool import Pool
from rayl2o.cluster.process import Process
from rayl2o.cluster.processes import Run
from rayl2o.cluster.rounds import RoundLoop
from rayl2o.cluster.seat import Seat
from rayl2o.cluster.transport import nbytes, pack
from rayl2o.cluster.worker import Outcome, Weights
from rayl2o.config import RunConfig, load
from rayl2o.meta.rounds import Job, acting_version, fresh_state, perform
from rayl2o.runtime import RoleConfig, RuntimeConfig
from rayl2o.telemetry import WorkersView
from rayl2o.unroll.ticket import Ticket

RESULTS = Path(__file__).parent / "results" / "ray-scaling.json"
HOSTS = 2
ROUNDS, WARM = 10, 4
WORKERS = (8, 64, 256, 1024)
ESTIMATORS = ("rtg", "rtg_worker")


class Host:
    """Many virtual workers in one process: each does one call at a time, and sleeps instead of working."""

    def __init__(self, config_text: str, seconds: float) -> None:
        from rayl2o.config import load_text

        pin()
        config = load_text(config_text, "the benchmark")
        rule, family = config.make_rule(), config.make_family()
        state = fresh_state(rule, family, config, "scaling")
        job = Job(state.slots[0][0], None, 0)
        self._contribution, self._after = perform(rule, config, state.history[0], job)
        self._state, self._seconds = pack(self._after), seconds
        self._one_at_a_time: dict[int, asyncio.Lock] = {}
        self._fetched: dict[int, int] = {}

    async def prepare(self) -> Greeting:
        """As a worker's."""
        return greet()

    async def ping(self) -> bool:
        """As a worker's."""
        return True

    async def rollout(self, worker: int, weights: Weights, ticket: Ticket, state: Any, attempt: int) -> Any:
        """As a worker's: pulls the version if it is new, takes its time, returns objects of the real size."""
        del state, attempt
        async with self._one_at_a_time.setdefault(worker, asyncio.Lock()):
            if self._fetched.get(worker) != weights.version:
                self._fetched[worker] = weights.version
                await weights.ref
            await asyncio.sleep(self._seconds)
        source = replace(
            self._contribution.source, slot=ticket.slot, ordinal=ticket.ordinal, policy_version=weights.version
        )
        wire = pack(replace(self._contribution, source=source))
        outcome = Outcome(False, weights.version, "here", (nbytes(wire), nbytes(self._state)))
        return outcome, wire, self._state


class _Seat:
    """The handle of one virtual worker: calls its host with its number."""

    def __init__(self, host: Any, number: int) -> None:
        self._host, self._number = host, number

    def __getattr__(self, method: str) -> Any:
        bound: Any = getattr(self._host, method)
        return _Numbered(bound, self._number) if method == "rollout" else bound


class _Numbered:
    def __init__(self, bound: Any, number: int) -> None:
        self._bound, self._number = bound, number

    def options(self, **options: Any) -> _Numbered:
        return _Numbered(self._bound.options(**options), self._number)

    def remote(self, *args: Any) -> Any:
        return self._bound.remote(self._number, *args)


@dataclass(eq=False)
class _Virtual(Process):
    """Ends with its host, not alone."""

    def end(self) -> None:
        self.flights.clear()


@dataclass(frozen=True)
class Point:
    """One size.

    Attributes:
        workers, estimator: What was run.
        ideal, rounds_per_s: Without any cost but the sleep, and measured (median after warm-up).
        efficiency: Their ratio.
        learner_busy, controller_cpu: Shares of the time, of a CPU.
        calls_per_s, bytes_per_round: Through the controller, through the store.
    """

    workers: int
    estimator: str
    ideal: float
    rounds_per_s: float
    efficiency: float
    learner_busy: float
    controller_cpu: float
    calls_per_s: float
    bytes_per_round: float


def config_for(workers: int, estimator: str) -> RunConfig:
    """Quickstart, two slots per worker and ``lag`` 1, so that neither side waits for the other's messages."""
    return load(
        "quickstart",
        [
            f"updates={ROUNDS}",
            f"slots={workers}",
            "lag=1",
            f"estimator={estimator}",
            "curriculum.kind=none",
            "curriculum.n_train=[100000]",
            "output.checkpoint_every=100000",
        ],
    )


def measure(workers: int, estimator: str, seconds: float, out: Path) -> Point:
    """One run with so many virtual workers."""
    config = config_for(workers, estimator)
    runtime = RuntimeConfig(
        kind="local", workers=workers, learner=RoleConfig(num_cpus=0), worker=RoleConfig(num_cpus=0)
    )
    config = replace(config, runtime=replace(runtime, hedge_factor=1000.0))
    folder.begin(out, config)
    run = Run(config, out.resolve())
    decorate: Any = ray.remote
    kind = decorate(num_cpus=0, max_concurrency=2 * workers + 8)(Host)
    hosts = [kind.remote(run.text, seconds) for _ in range(HOSTS)]
    ray.get([host.ping.remote() for host in hosts])

    def start(number: int, incarnation: int) -> Process:
        process = _Virtual(_Seat(hosts[number % HOSTS], number), "worker", number, incarnation)
        process.call(time.monotonic(), None, "prepare")
        return process

    times: list[tuple[float, float]] = []

    def on_settled(_: Report, __: WorkersView) -> None:
        times.append((time.perf_counter(), time.process_time()))

    seat = Seat(run)
    pool = Pool(runtime, workers, start, time.monotonic())
    try:
        loop = RoundLoop(run, seat, pool, on_settled)
        loop.loop()
        busy = loop.learner_busy_s / config.updates
    finally:
        seat.close()
        pool.close()
        for host in hosts:
            ray.kill(host)
    gaps = [b[0] - a[0] for a, b in zip(times[WARM:], times[WARM + 1 :], strict=False)]
    pairs = [a + b for a, b in pairwise(gaps)]
    speed = 2.0 / statistics.median(pairs)
    wall, cpu = times[-1][0] - times[WARM][0], times[-1][1] - times[WARM][1]
    assert acting_version(config, 3) == 1
    return Point(
        workers=workers,
        estimator=estimator,
        ideal=1.0 / seconds,
        rounds_per_s=speed,
        efficiency=speed * seconds,
        learner_busy=min(1.0, busy * speed),
        controller_cpu=cpu / wall,
        calls_per_s=speed * workers,
        bytes_per_round=sum(loop.shipped) / config.updates,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all sizes and keeps the result, size by size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roll-out-s", type=float, default=1.0)
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS))
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    points: list[Point] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        connected(RuntimeConfig(kind="local", workers=1, object_store_mb=1000)),
    ):
        for estimator in args.estimators:
            for workers in args.workers:
                point = measure(workers, estimator, args.roll_out_s, Path(scratch) / f"{estimator}-{workers}")
                points.append(point)
                print(point, flush=True)
                machine = {"python": platform.python_version(), "cores": os.cpu_count(), **folder.scope()}
                text = json.dumps({"measured_with": machine, "points": [vars(p) for p in points]}, indent=1)
                RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
