"""The pool with a worker of its own: retries, deaths, hangs, stragglers. What a run makes of them is tested in test_faults."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from rayl2o.cluster.controller import wait_any
from rayl2o.cluster.greeting import Greeting, greet
from rayl2o.cluster.pool import Call, Done, Pool
from rayl2o.cluster.process import Process
from rayl2o.errors import UserError
from rayl2o.runtime import RuntimeConfig

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_local")]

CONFIG = RuntimeConfig(kind="local", workers=2, max_attempts=3, ping_s=1.0, deadline_s=60.0, hedge_factor=2.0)


class Worker:
    """Does what its calls say."""

    def __init__(self, number: int, incarnation: int) -> None:
        self._own = (number, incarnation)

    def prepare(self) -> Greeting:
        return greet()

    @ray.method(concurrency_group="control")
    def ping(self) -> bool:
        return True

    def work(self, what: str, attempt: int) -> Any:
        number, incarnation = self._own
        if what == "raise":
            raise ValueError(f"attempt {attempt}")
        if what == "mistake":
            raise UserError("no such data", value="x", mend="get it")
        if what == "die once" and incarnation == 0 and attempt == 0:
            os._exit(1)
        if what == "stop once" and attempt == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(60)  # the kernel stops the main thread first; this one could have answered before its turn came
        if what == "slow once" and attempt == 0:
            time.sleep(20)
        return (what, number, incarnation, attempt)


def _start(number: int, incarnation: int) -> Process:
    decorate: Any = ray.remote
    actor = decorate(max_restarts=0, num_cpus=0, concurrency_groups={"control": 1})(Worker)
    process = Process(actor.remote(number, incarnation), "worker", number, incarnation)
    process.call(time.monotonic(), None, "prepare")
    return process


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(CONFIG, 2, _start, time.monotonic())
    yield made
    made.close()


def _call(key: str, what: str) -> Call:
    return Call(key, "work", lambda attempt: (what, attempt))


def _until(pool: Pool, enough: Callable[[list[Done]], bool]) -> list[Done]:
    found: list[Done] = []
    deadline = time.monotonic() + 60
    while not enough(found):
        assert time.monotonic() < deadline, found
        ready, now = wait_any(pool.refs()), time.monotonic()
        found += [done for ref in ready for done in pool.take(ref, now)] + pool.tick(now)
    return found


def _results(pool: Pool, **calls: str) -> dict[str, Done]:
    for key, what in calls.items():
        pool.submit(_call(key, what))
    return {str(done.key): done for done in _until(pool, lambda found: len(found) == len(calls))}


def test_every_call_is_answered_once_and_both_workers_work(pool: Pool) -> None:
    _until(pool, lambda _: len(pool.ready) == 2)
    found = _results(pool, **{f"k{i}": "plain" for i in range(12)})
    assert len(found) == 12
    assert {done.value[1] for done in found.values()} == {0, 1}
    assert not pool.busy
    pool.submit(_call("k0", "plain"))
    pool.submit(_call("k0", "plain"))
    assert len(_until(pool, lambda found: not pool.busy and not pool.in_flight)) == 1


def test_what_always_raises_is_given_up_after_its_attempts_and_a_mistake_at_once(pool: Pool) -> None:
    found = _results(pool, a="raise", b="mistake", c="plain")
    assert "attempt 2" in str(found["a"].error)
    assert isinstance(found["b"].error, UserError)
    assert found["c"].error is None
    assert not pool.counters.restarts


def test_a_worker_that_dies_is_replaced_and_its_work_is_done(pool: Pool) -> None:
    found = _results(pool, a="die once", b="plain", c="plain")
    assert found["a"].value[3] >= 1
    assert pool.counters.restarts["died"] == 1
    _until(pool, lambda _: len(pool.ready) == 2)
    assert sorted(worker.incarnation for worker in pool.ready) == [0, 1]


def test_a_stopped_worker_is_found_out_killed_and_replaced(pool: Pool) -> None:
    _until(pool, lambda _: len(pool.ready) == 2)
    pids = {worker.greeting.pid for worker in pool.ready if worker.greeting is not None}
    found = _results(pool, a="stop once", b="plain")
    assert found["a"].value[3] == 1
    assert pool.counters.restarts["hung"] == 1
    _until(pool, lambda _: len(pool.ready) == 2)
    (ended,) = pids - {worker.greeting.pid for worker in pool.ready if worker.greeting is not None}
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{ended}"):
        assert time.monotonic() < deadline, "a stopped process was left behind"
        time.sleep(0.05)


def test_a_slow_worker_is_left_alone_and_another_does_its_work(pool: Pool) -> None:
    _results(pool, **{f"warm{i}": "plain" for i in range(4)})  # so that it is known what is usual
    found = _results(pool, a="slow once")
    assert found["a"].value[3] == 1
    assert pool.counters.hedged == 1
    assert not pool.counters.restarts


def test_forgotten_work_is_not_reported(pool: Pool) -> None:
    _until(pool, lambda _: len(pool.ready) == 2)
    for i in range(6):
        pool.submit(_call(f"k{i}", "plain"))
    pool.tick(time.monotonic())
    pool.forget()
    assert not pool.busy
    assert _until(pool, lambda _: not pool.in_flight) == []
    assert pool.counters.drops["late"] > 0
