"""A run's numbers as Ray metrics, which a cluster exports to Prometheus; ``dashboards/grafana.json`` draws them.

Ray puts ``ray_`` before a name and ``_total`` after a counter's; :func:`exported` gives the names that Prometheus sees. Without
``ray[default]`` the numbers are kept and go nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ray.util.metrics import Counter, Gauge, Histogram

from rayl2o.follow.staleness import quantiles
from rayl2o.telemetry import Progress, WorkersView

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
_AGES = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 8.5, 16.5, 32.5, 64.5)
"""Between the whole numbers, so that no version falls on a boundary."""


@dataclass(frozen=True)
class Metric:
    """One metric: its name as given to Ray, its kind, what it is, and by what it is split besides ``run``."""

    name: str
    kind: str
    what: str
    by: tuple[str, ...] = ()


METRICS = (
    Metric("rayl2o_rounds", COUNTER, "Rounds completed by this process"),
    Metric("rayl2o_round", GAUGE, "Rounds completed by the run"),
    Metric("rayl2o_rounds_wanted", GAUGE, "Rounds of the run at most"),
    Metric("rayl2o_loss", GAUGE, "Mean inner loss of the last round"),
    Metric("rayl2o_grad_norm", GAUGE, "Norm of the last meta-gradient"),
    Metric("rayl2o_score", GAUGE, "Last validation score"),
    Metric("rayl2o_stage", GAUGE, "Stage of the curriculum, from 0"),
    Metric("rayl2o_horizon", GAUGE, "Inner steps of a trajectory in this stage"),
    Metric("rayl2o_skipped", GAUGE, "Updates skipped for a gradient that is not finite"),
    Metric("rayl2o_inner_steps_per_s", GAUGE, "Inner steps per second since the process began"),
    Metric("rayl2o_replay_size", GAUGE, "Segments kept for replay"),
    Metric("rayl2o_workers_alive", GAUGE, "Workers ready to work"),
    Metric("rayl2o_workers_wanted", GAUGE, "Workers asked for"),
    Metric("rayl2o_calls_in_flight", GAUGE, "Calls handed out and not yet back"),
    Metric("rayl2o_restarts", COUNTER, "Processes started again", ("reason",)),
    Metric("rayl2o_drops", COUNTER, "Segments not learned from", ("reason",)),
    Metric("rayl2o_reruns", COUNTER, "Roll-outs made again because their result was lost"),
    Metric("rayl2o_quarantined", GAUGE, "Tasks set aside"),
    Metric("rayl2o_learner_idle", GAUGE, "Share of the time in which the learner waited, 0 to 1"),
    Metric("rayl2o_staleness", GAUGE, "Age in versions of the segments learned from", ("quantile",)),
    Metric("rayl2o_segment_age", HISTOGRAM, "Segments learned from, by age in versions"),
)
_FROM_METRICS = {
    "rayl2o_loss": "loss",
    "rayl2o_grad_norm": "grad_norm",
    "rayl2o_score": "score",
    "rayl2o_skipped": "skipped",
    "rayl2o_replay_size": "replay_size",
}


def exported(metric: Metric) -> tuple[str, ...]:
    """The names under which Prometheus has a metric."""
    name = f"ray_{metric.name}"
    if metric.kind == COUNTER:
        return (f"{name}_total",)
    return (name,) if metric.kind == GAUGE else (f"{name}_bucket", f"{name}_sum", f"{name}_count")


class Gauges:
    """Takes a :class:`Progress` per round and sets the metrics, tagged with the run's name.

    Counters count from the start of this process; one that a runtime began anew is taken to have restarted from 0.
    """

    def __init__(self, run: str) -> None:
        tags = {"run": run}
        kinds = {COUNTER: Counter, GAUGE: Gauge}
        self._by_name: dict[str, Counter | Gauge | Histogram] = {
            metric.name: Histogram(metric.name, metric.what, list(_AGES), ("run",)).set_default_tags(tags)
            if metric.kind == HISTOGRAM
            else kinds[metric.kind](metric.name, metric.what, ("run", *metric.by)).set_default_tags(tags)
            for metric in METRICS
        }
        self._round: int | None = None
        self._before = WorkersView()

    def __call__(self, progress: Progress) -> None:
        """A round is done."""
        self._count("rayl2o_rounds", 1 if self._round is None else max(0, progress.round - self._round))
        self._round = progress.round
        self._set("rayl2o_round", progress.round)
        self._set("rayl2o_rounds_wanted", progress.updates)
        self._set("rayl2o_stage", progress.stage)
        self._set("rayl2o_horizon", progress.horizon)
        self._set("rayl2o_inner_steps_per_s", progress.inner_steps_per_s)
        for name, source in _FROM_METRICS.items():
            self._set(name, progress.metrics.get(source, math.nan))
        if progress.workers is not None:
            self._workers(self._before, progress.workers)
            self._before = progress.workers

    def _workers(self, before: WorkersView, now: WorkersView) -> None:
        self._set("rayl2o_workers_alive", now.alive)
        self._set("rayl2o_workers_wanted", now.wanted)
        self._set("rayl2o_calls_in_flight", now.in_flight)
        self._set("rayl2o_quarantined", len(now.quarantined))
        self._set("rayl2o_learner_idle", now.learner_idle)
        self._count("rayl2o_reruns", _more(before.rerun, now.rerun))
        for name, old, new in (("restarts", before.restarts, now.restarts), ("drops", before.drops, now.drops)):
            for reason, count in new.items():
                self._count(f"rayl2o_{name}", _more(old.get(reason, 0), count), {"reason": reason})
        self._ages(before.staleness, now.staleness)

    def _ages(self, before: Mapping[int, int], now: Mapping[int, int]) -> None:
        stale = quantiles(now)
        for quantile, age in stale.to_json().items() if stale is not None else ():
            self._set("rayl2o_staleness", age, {"quantile": quantile})
        histogram = self._by_name["rayl2o_segment_age"]
        assert isinstance(histogram, Histogram)
        for age, count in now.items():
            for _ in range(_more(before.get(age, 0), count)):
                histogram.observe(age)

    def _set(self, name: str, value: float, tags: dict[str, str] | None = None) -> None:
        """A number that is not finite would end Prometheus' lines and averages: the last one stays."""
        gauge = self._by_name[name]
        assert isinstance(gauge, Gauge)
        if math.isfinite(value):
            gauge.set(value, tags or {})

    def _count(self, name: str, more: int, tags: dict[str, str] | None = None) -> None:
        counter = self._by_name[name]
        assert isinstance(counter, Counter)
        if more > 0:
            counter.inc(more, tags or {})


def _more(before: int, now: int) -> int:
    return now - before if now >= before else now
