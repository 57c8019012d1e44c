"""Published figures of the Ray runtime: rounds per second against the inline loop in the same run, and where the time goes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rayl2o import folder
from rayl2o.benchmark import Row
from rayl2o.cluster.connect import connected
from rayl2o.cluster.learner import Report
from rayl2o.cluster.pool import Pool
from rayl2o.cluster.process import Process
from rayl2o.cluster.processes import Run, start_worker
from rayl2o.cluster.rounds import RoundLoop
from rayl2o.cluster.seat import Seat
from rayl2o.config import RunConfig, load
from rayl2o.run import train
from rayl2o.runtime import RoleConfig, RuntimeConfig
from rayl2o.telemetry import Progress, WorkersView

ROUNDS, WARM = 14, 4
"""Rounds that are made, and how many of these come before the clock starts: processes, store pages and caches are cold."""
WORKERS = (1, 2)


@dataclass
class _Clock:
    """When boundaries were passed."""

    times: list[float] = field(default_factory=list)

    def tick(self) -> None:
        self.times.append(time.perf_counter())

    @property
    def rounds_per_s(self) -> float:
        """Of the rounds after the warm ones; the median gap, which a busy moment does not move."""
        gaps = [after - before for before, after in zip(self.times[WARM:], self.times[WARM + 1 :], strict=False)]
        # With lag 1 rounds come in pairs of unequal gaps; pairs are compared.
        pairs = [a + b for a, b in zip(gaps[::2], gaps[1::2], strict=False)]
        return 2.0 / statistics.median(pairs)


def workload() -> RunConfig:
    """MNIST MLP-orig where RAYL2O_DATA has it (else digits), RNNprop full, K = 4, 4 slots, U = 20, lag 1, a tenth of the
    coordinates."""
    data, coords = ("mnist", 1591) if os.environ.get("RAYL2O_DATA") else ("digits", 151)
    overrides = (
        f"updates={ROUNDS}",
        "slots=4",
        "instances=4",
        "lag=1",
        "rule.kind=rnnprop",
        "rule.settings={}",
        f"task.settings={{data: {data}}}",
        "unroll.credit=first_order",
        f"unroll.coords_per_row={coords}",
        "curriculum.kind=none",
        "curriculum.n_train=[1000]",
        "output.checkpoint_every=1000",
    )
    return load("quickstart", overrides)


def ray_rows() -> list[Row]:
    """Rounds per second inline and on 1 and 2 workers, the controller's share of a CPU, bytes, workers that a learner feeds."""
    config = workload()
    label = f"{config.task.name} {config.task.settings['data']}, rnnprop, K = 4, 4 slots, U = 20, lag 1"
    with tempfile.TemporaryDirectory() as scratch:
        inline = _inline(config, Path(scratch) / "inline")
        rows = [Row(f"{label}: inline", inline, "rounds/s")]
        for workers in WORKERS:
            rows += _on_ray(config, workers, Path(scratch) / f"ray-{workers}", label, inline)
    return rows


def _inline(config: RunConfig, out: Path) -> float:
    clock = _Clock()

    def on_round(_: Progress) -> None:
        clock.tick()

    train(config, out, on_round)
    return clock.rounds_per_s


def _on_ray(config: RunConfig, workers: int, out: Path, label: str, inline: float) -> list[Row]:
    runtime = RuntimeConfig(kind="local", workers=workers, learner=RoleConfig(num_cpus=0))
    config = replace(config, runtime=runtime)
    clock, cpu = _Clock(), _Clock()

    def on_settled(_: Report, __: WorkersView) -> None:
        clock.tick()
        cpu.times.append(time.process_time())

    with connected(runtime):
        folder.begin(out, config)
        run = Run(config, out)

        def start(number: int, incarnation: int) -> Process:
            return start_worker(run, number, incarnation, time.monotonic())

        seat = Seat(run)
        pool = Pool(runtime, workers, start, time.monotonic())
        try:
            loop = RoundLoop(run, seat, pool, on_settled)
            loop.loop()
            rollouts = config.updates * config.slots
            worked = pool.counters.busy_s / rollouts
            learned = loop.learner_busy_s / rollouts
        finally:
            seat.close()
            pool.close()
    name = f"{label}: {workers} worker{'s' * (workers > 1)}"
    share = (cpu.times[-1] - cpu.times[WARM]) / (clock.times[-1] - clock.times[WARM])
    return [
        Row(name, clock.rounds_per_s, "rounds/s", clock.rounds_per_s / inline, "inline, one thread"),
        Row(f"{name}, controller", share, "of a CPU"),
        Row(f"{name}, segments through the store", loop.shipped[0] / config.updates, "bytes/round"),
        Row(f"{name}, slot states through the store", loop.shipped[1] / config.updates, "bytes/round"),
        Row(f"{name}, workers that one learner feeds", worked / learned, "workers"),
    ]


BENCHMARKS: Mapping[str, Callable[[], list[Row]]] = {"ray": ray_rows}
