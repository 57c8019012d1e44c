"""A run on Ray, from the config to the trained rule: connect, start, loop, end. Kill any part of it: see docs/cluster.md."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from rayl2o import folder
from rayl2o.cluster.asynchronous import AsyncLoop
from rayl2o.cluster.capacity import workers_wanted
from rayl2o.cluster.connect import Connection, connected, require_roles
from rayl2o.cluster.gauges import Gauges
from rayl2o.cluster.learner import Report
from rayl2o.cluster.pool import Pool
from rayl2o.cluster.processes import Run, start_worker
from rayl2o.cluster.rounds import RoundLoop
from rayl2o.cluster.seat import Seat
from rayl2o.config import RunConfig
from rayl2o.follow.following import Following, following
from rayl2o.follow.staleness import quantiles
from rayl2o.run import OnRound, TrainResult, told
from rayl2o.runtime import RuntimeConfig
from rayl2o.telemetry import Progress, WorkersView

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClusterResult:
    """How a run on Ray ended.

    Attributes:
        train: As of any run.
        workers: At its end, as telemetry has them.
    """

    train: TrainResult
    workers: WorkersView

    def to_json(self) -> dict[str, Any]:
        """The machine-readable contract of ``rayl2o train --runtime local|cluster``."""
        stale = quantiles(self.workers.staleness)
        return {
            **self.train.to_json(),
            "workers": self.workers.wanted,
            "restarts": sum(self.workers.restarts.values()),
            "staleness": {"p50": 0, "p99": 0, "max": 0} if stale is None else stale.to_json(),
            "drops": dict(self.workers.drops),
            "quarantined": list(self.workers.quarantined),
        }


def train(config: RunConfig, out: Path, on_round: OnRound | None = None) -> ClusterResult:
    """Starts a run in a new folder.

    Args:
        config: With a ``runtime`` of kind ``local`` or ``cluster``.
        out: Its folder, on storage that driver and learner share.
        on_round: Told of every round (asynchronous: update).

    Raises:
        UserError: A user's mistake, before any work starts; or what the cluster could not get over.
    """
    with following(out, config.runtime.kind, *told(on_round)) as take, connected(config.runtime) as connection:
        require_roles(config.runtime, connection)
        folder.begin(out, config)
        take.begin()
        return _ended(_go(config, out, connection, take), take)


def resume(out: Path, runtime: RuntimeConfig | None = None, on_round: OnRound | None = None) -> ClusterResult:
    """Goes on from the newest valid checkpoint, whichever runtime made it.

    Args:
        out: Folder of the run.
        runtime: Where to go on; None as it was begun.
        on_round: As in :func:`train`.
    """
    config = folder.read_config(out)
    config = config if runtime is None else replace(config, runtime=runtime)
    kind = config.runtime.kind
    with following(out, kind, *told(on_round), resuming=True) as take, connected(config.runtime) as connection:
        require_roles(config.runtime, connection)
        return _ended(_go(config, out, connection, take), take)


def _ended(result: ClusterResult, take: Following) -> ClusterResult:
    take.end(result.train.status)
    return result


def _go(config: RunConfig, out: Path, connection: Connection, on_round: OnRound) -> ClusterResult:
    out = out.resolve()
    run = Run(config, out)
    wanted = workers_wanted(config.runtime, connection.cpus)
    with folder.logged(out):
        _log.info("%d workers on %s (%s), %s", wanted, connection.address, config.runtime.kind, config.runtime.mode)
        seat = Seat(run)
        pool = Pool(config.runtime, wanted, _starter(run), time.monotonic(), _growth(config.runtime))
        try:
            reports = _Told(config, on_round, Gauges(run.run_id))
            kind = AsyncLoop if config.runtime.mode == "asynchronous" else RoundLoop
            loop = kind(run, seat, pool, reports)
            reports.begin(loop.report)
            digest = loop.loop()
            result = reports.result(out, digest, loop.report)
            _log.info("%s after round %d, phi %s", result.status, result.updates, digest)
            return ClusterResult(result, loop.view())
        finally:
            seat.close()
            pool.close()


def _starter(run: Run) -> Callable[[int, int], Any]:
    return lambda number, incarnation: start_worker(run, number, incarnation, time.monotonic())


def _growth(runtime: RuntimeConfig) -> Callable[[], int] | None:
    """How many workers there may be now that nodes were added; None where the number was given."""
    if runtime.workers or runtime.kind != "cluster":
        return None
    return lambda: workers_wanted(runtime, float(ray.cluster_resources().get("CPU", 0.0)))  # type: ignore[no-untyped-call]


class _Told:
    """From the controller's reports to telemetry."""

    def __init__(self, config: RunConfig, on_round: OnRound, gauges: Gauges) -> None:
        self._config, self._takers = config, (on_round, gauges)
        self._since, self._steps_before = time.perf_counter(), 0

    def begin(self, report: Report) -> None:
        """The loop starts now; processes are up."""
        self._since, self._steps_before = time.perf_counter(), report.inner_steps

    def __call__(self, report: Report, view: WorkersView) -> None:
        """A boundary is settled."""
        seconds = time.perf_counter() - self._since
        stages = self._config.curriculum.n_train
        stage = int(report.metrics["stage"])
        progress = Progress(
            round=report.round,
            updates=self._config.updates,
            stage=stage,
            stages=len(stages),
            horizon=stages[stage],
            inner_steps=report.inner_steps,
            seconds=seconds,
            inner_steps_per_s=self._rate(report, seconds),
            metrics=report.metrics,
            runtime=self._config.runtime.kind,
            workers=view,
        )
        for take in self._takers:
            take(progress)

    def result(self, out: Path, digest: str, report: Report) -> TrainResult:
        """How the run ended."""
        return TrainResult(
            run=out,
            updates=report.round,
            phi_sha256=digest,
            inner_steps_per_s=self._rate(report, time.perf_counter() - self._since),
            status="converged" if report.converged else "finished",
        )

    def _rate(self, report: Report, seconds: float) -> float:
        return (report.inner_steps - self._steps_before) / max(seconds, 1e-9)
