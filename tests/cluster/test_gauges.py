from __future__ import annotations

import math
from collections import Counter as Tally
from dataclasses import replace
from typing import Any

import pytest

from rayl2o.cluster import gauges
from rayl2o.cluster.gauges import COUNTER, GAUGE, HISTOGRAM, METRICS, Gauges, Metric, exported
from rayl2o.telemetry import WorkersView
from tests.follow.said import CALM, FAULTY, progress

Key = tuple[str, ...]


class _Recorder:
    """Stands for a class of ray.util.metrics, with its checks of tags and values; keeps what it is given."""

    values: dict[Key, float]
    ages: Tally[float]

    def __init__(self, name: str, description: str, *rest: Any) -> None:
        self.name, self.keys = name, rest[-1]
        assert description
        self.tags: dict[str, str] = {}

    def set_default_tags(self, tags: dict[str, str]) -> _Recorder:
        self.tags = tags
        return self

    def _key(self, tags: dict[str, str]) -> Key:
        tags = {**self.tags, **tags}
        assert set(tags) == set(self.keys)
        return (self.name, *(tags[key] for key in self.keys))

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.values[self._key(tags)] = value

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self.values[self._key(tags)] = self.values.get(self._key(tags), 0) + value

    def observe(self, value: float) -> None:
        self._key({})
        self.ages[value] += 1


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[_Recorder]:
    _Recorder.values, _Recorder.ages = {}, Tally()
    for name in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(gauges, name, type(name, (_Recorder,), {}))
    return _Recorder


def test_gauges_tell_the_last_round(recorder: type[_Recorder]) -> None:
    take = Gauges("r")
    take(progress(3, CALM, score=0.5))
    take(progress(4, FAULTY, replay_size=7.0))
    want = {
        ("rayl2o_round", "r"): 4,
        ("rayl2o_rounds_wanted", "r"): 20,
        ("rayl2o_loss", "r"): 1.0,
        ("rayl2o_grad_norm", "r"): 0.5,
        ("rayl2o_score", "r"): 0.5,
        ("rayl2o_stage", "r"): 1,
        ("rayl2o_horizon", "r"): 200,
        ("rayl2o_skipped", "r"): 0.0,
        ("rayl2o_inner_steps_per_s", "r"): 2000.0,
        ("rayl2o_replay_size", "r"): 7.0,
        ("rayl2o_workers_alive", "r"): 1,
        ("rayl2o_workers_wanted", "r"): 2,
        ("rayl2o_calls_in_flight", "r"): 3,
        ("rayl2o_quarantined", "r"): 1,
        ("rayl2o_learner_idle", "r"): 0.125,
        ("rayl2o_staleness", "r", "p50"): 1,
        ("rayl2o_staleness", "r", "p99"): 3,
        ("rayl2o_staleness", "r", "max"): 3,
        ("rayl2o_rounds", "r"): 2,
        ("rayl2o_restarts", "r", "died"): 2,
        ("rayl2o_restarts", "r", "out of memory"): 1,
        ("rayl2o_drops", "r", "stale"): 4,
        ("rayl2o_reruns", "r"): 6,
    }
    assert recorder.values == want
    assert recorder.ages == {0: 10, 1: 95, 3: 5}
    assert {name for name, *_ in want} | {"rayl2o_segment_age"} == {metric.name for metric in METRICS}


def test_counters_count_what_is_new(recorder: type[_Recorder]) -> None:
    take = Gauges("r")
    for died in (1, 1, 4, 2):  # at last a runtime that began anew
        take(progress(5, WorkersView(restarts={"died": died}, staleness={1: died})))
    assert recorder.values[("rayl2o_restarts", "r", "died")] == 6
    assert recorder.ages == {1: 6}
    assert recorder.values[("rayl2o_rounds", "r")] == 1


def test_a_number_that_is_none_leaves_the_last_one(recorder: type[_Recorder]) -> None:
    take = Gauges("r")
    take(progress(1, loss=2.0))
    take(progress(2, loss=math.nan))
    assert recorder.values[("rayl2o_loss", "r")] == 2.0
    assert not any("workers" in name for name, *_ in recorder.values)


def test_exported_names() -> None:
    assert exported(Metric("a", GAUGE, "")) == ("ray_a",)
    assert exported(Metric("a", COUNTER, "")) == ("ray_a_total",)
    assert exported(Metric("a", HISTOGRAM, "")) == ("ray_a_bucket", "ray_a_sum", "ray_a_count")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_ray_takes_them_where_ray_does_not_run() -> None:
    take = Gauges("r")
    take(progress(1))
    take(progress(2, FAULTY))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("ray_local")
def test_ray_takes_them_where_it_runs() -> None:
    take = Gauges("r")
    for i in range(1, 4):
        take(progress(i, replace(FAULTY, restarts={"died": i})))
