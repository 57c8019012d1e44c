"""The roll-out workers: hands out calls, one object of work to whoever is free, and copes with the dead, the hung and the slow.

Calls are pure, so a call may be made twice and whichever answer comes first counts; the other is dropped unread.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from rayl2o.cluster.process import (
    DIED,
    HUNG,
    MEMORY,
    OVERDUE,
    SLOW,
    Flight,
    Process,
    cause_of,
    death_of,
    loss_of,
)
from rayl2o.cluster.processes import admit
from rayl2o.errors import UserError, shorten
from rayl2o.runtime import RuntimeConfig

_log = logging.getLogger(__name__)

_LEAST_USUAL_S = 1.0
"""Below this nothing counts as slow: noise of a busy machine."""
_LOOK_S = 0.2
"""Seconds between two looks at those that take long."""
_GROW_S = 5.0
"""Seconds between two looks for added nodes."""
_REMEMBERED = 64
_DEPTH = 2
"""Calls at a worker: one that runs and one that waits, which hides the time in between."""
_MOST_BACKOFF_S = 10.0
_MAYBE_ITS_FAULT = (DIED, MEMORY, HUNG, OVERDUE)
"""Ends of a process that the work at hand may have caused; a node's end it does not."""


@dataclass(frozen=True)
class Call:
    """Work for any worker.

    Attributes:
        key: Names the work; two calls of one key give the same result.
        method: Of the worker. Its first result is read here, the others stay where they are.
        arguments: From the attempt's number (from 0) to the call's arguments.
        returns: How many objects it returns.
    """

    key: Hashable
    method: str
    arguments: Callable[[int], tuple[Any, ...]]
    returns: int = 1


@dataclass(frozen=True)
class Done:
    """How a call ended: ``value`` and ``refs`` (its other results), or one of the others.

    Attributes:
        key: Of the call.
        value: Its first result.
        refs: References of its other results.
        lost: Whether an argument of it is lost, so that it has to be made again from further back.
        error: What it raised, if it raises wherever it is tried.
    """

    key: Hashable
    value: Any = None
    refs: tuple[Any, ...] = ()
    lost: bool = False
    error: BaseException | None = None


@dataclass(eq=False)
class _Work:
    call: Call
    failures: int = 0
    attempts: int = 0
    out: int = 0
    """Flights that may still answer."""


@dataclass
class Counters:
    """What happened so far; see ``telemetry.WorkersView``."""

    restarts: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    hedged: int = 0
    busy_s: float = 0.0
    """Seconds that workers took for calls that they answered."""


class Pool:
    """Workers and their work. Single-threaded: the controller asks for :meth:`refs`, waits, and calls :meth:`take` and
    :meth:`tick`."""

    def __init__(
        self,
        config: RuntimeConfig,
        wanted: int,
        start: Callable[[int, int], Process],
        now: float,
        growth: Callable[[], int] | None = None,
    ) -> None:
        """``start(number, incarnation)`` creates a worker and sends it ``prepare`` as its first call; ``growth`` says how many
        workers there may be now."""
        self.counters = Counters()
        self.wanted = wanted
        self._config, self._start = config, start
        self._workers: dict[int, Process] = {number: start(number, 0) for number in range(wanted)}
        self._waiting: dict[int, tuple[float, int]] = {}  # number -> (when to start again, incarnation)
        self._deaths: Counter[int] = Counter()  # in a row, without an answer in between
        self._queue: deque[_Work] = deque()
        self._open: dict[Hashable, _Work] = {}
        self._seconds: dict[str, deque[float]] = {}
        self._last_ready = now
        self._looked = self._grown = now
        self._growth = growth

    @property
    def ready(self) -> list[Process]:
        """Workers that have answered ``prepare``."""
        return [worker for worker in self._workers.values() if worker.greeting is not None]

    @property
    def in_flight(self) -> int:
        """Calls handed out and not yet back."""
        return sum(len(worker.flights) for worker in self.ready)

    @property
    def busy(self) -> bool:
        """Whether any work is open."""
        return bool(self._open)

    def _grow(self, wanted: int) -> None:
        """More workers, where a node was added."""
        for number in range(self.wanted, wanted):
            self._workers[number] = self._start(number, 0)
        self.wanted = max(self.wanted, wanted)

    def submit(self, call: Call) -> None:
        """Queues work, unless work of that key is open already. :meth:`tick` hands it out."""
        if call.key not in self._open:
            self._open[call.key] = work = _Work(call)
            self._queue.append(work)

    def forget(self, keys: Iterable[Hashable] | None = None) -> None:
        """Drops open work: answers to it are no longer wanted. None drops all."""
        for key in list(self._open) if keys is None else list(keys):
            work = self._open.pop(key, None)
            if work is not None and work in self._queue:
                self._queue.remove(work)

    def has(self, key: Hashable) -> bool:
        """Whether work of that key is open."""
        return key in self._open

    def refs(self) -> list[Any]:
        """What to wait for."""
        return [flight.refs[0] for worker in self._workers.values() for flight in worker.flights]

    def take(self, ref: Any, now: float) -> list[Done]:
        """Takes in the answer behind a reference of :meth:`refs`."""
        for worker in self._workers.values():
            for flight in worker.flights:
                if flight.refs[0] == ref:
                    return self._answered(worker, flight, now)
        return []

    def tick(self, now: float) -> list[Done]:
        """Looks after those that take long, and starts again what was ended."""
        found: list[Done] = []
        if now - self._looked > _LOOK_S:
            self._looked = now
            for worker in list(self._workers.values()):
                found += self._look_after(worker, now)
        for number, (when, incarnation) in list(self._waiting.items()):
            if now >= when:
                del self._waiting[number]
                self._workers[number] = self._start(number, incarnation)
        if self._growth is not None and now - self._grown > _GROW_S:
            self._grown = now
            self._grow(self._growth())
        if self.ready:
            self._last_ready = now
        elif now - self._last_ready > 2 * self._config.start_deadline_s:
            raise UserError(
                "no roll-out worker has been ready for too long",
                value=f"{now - self._last_ready:.0f} s",
                mend="see 'ray status': the cluster may lack CPUs or memory for a worker",
            )
        self._hand_out(now)
        return found

    def make_room(self) -> None:
        """Ends a worker, and all that wait for a place, so that the learner finds one. They start again with the next ticks."""
        found = self.ready[-1:] + [worker for worker in self._workers.values() if worker.greeting is None]
        for worker in found:
            self._gone(worker, "made room", time.monotonic())

    def close(self) -> None:
        """Ends all workers."""
        self.forget()
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def _hand_out(self, now: float) -> None:
        for depth in range(1, _DEPTH + 1):
            for worker in self.ready if self._queue else ():
                if self._queue and len(worker.flights) < depth:
                    self._send(worker, self._queue.popleft(), now)

    def _send(self, worker: Process, work: _Work, now: float) -> None:
        arguments = work.call.arguments(work.attempts)
        work.attempts += 1
        work.out += 1
        worker.call(now, work, work.call.method, *arguments, returns=work.call.returns)

    def _answered(self, worker: Process, flight: Flight, now: float) -> list[Done]:
        work: _Work | None = flight.tag
        try:
            value = ray.get(flight.refs[0], timeout=self._config.ping_s)
        except GetTimeoutError:  # on a node that fell silent: the deadline decides
            return []
        except RayError as error:
            return self._failed(worker, flight, error, now)
        seconds = worker.answer(now, flight)
        self._deaths[worker.number] = 0
        if work is None:
            worker.greeting = admit(value)
            return []
        work.out -= 1
        self.counters.busy_s += seconds
        self._seconds.setdefault(work.call.method, deque(maxlen=_REMEMBERED)).append(seconds)
        if self._open.get(work.call.key) is not work:
            self.counters.drops["late"] += 1
            return []
        del self._open[work.call.key]
        if work in self._queue:
            self._queue.remove(work)
        return [Done(work.call.key, value, tuple(flight.refs[1:]))]

    def _failed(self, worker: Process, flight: Flight, error: RayError, now: float) -> list[Done]:
        reason = death_of(error)
        if reason is not None:
            return self._gone(worker, reason, now)
        worker.answer(now, flight)
        work: _Work | None = flight.tag
        cause = cause_of(error)
        if work is None:  # it did not get ready
            if isinstance(cause, UserError):
                raise cause
            _log.warning("worker %d did not start: %s", worker.number, shorten(cause))
            return self._gone(worker, "did not start", now)
        work.out -= 1
        if self._open.get(work.call.key) is not work:
            return []
        if loss_of(error) or isinstance(cause, RayError):  # an argument, or the weights that it pulls
            self.forget([work.call.key])
            return [Done(work.call.key, lost=True)]
        return self._counted(work, cause)

    def _counted(self, work: _Work, cause: BaseException) -> list[Done]:
        """A failure of work that may be its own fault. A user's mistake is the same on every attempt."""
        work.failures += 1
        if isinstance(cause, UserError) or work.failures >= self._config.max_attempts:
            self.forget([work.call.key])
            return [Done(work.call.key, error=cause)]
        _log.warning(
            "%s failed (%d of %d): %s", work.call.key, work.failures, self._config.max_attempts, shorten(cause)
        )
        if work.out == 0 and work not in self._queue:
            self._queue.append(work)
        return []

    def _gone(self, worker: Process, reason: str, now: float) -> list[Done]:
        """A process is lost or given up: its work goes to others, a new one takes its place."""
        self.counters.restarts[reason] += 1
        _log.warning("worker %d (incarnation %d): %s; starting it again", worker.number, worker.incarnation, reason)
        del self._workers[worker.number]
        worker.end()
        deaths = self._deaths[worker.number]
        self._deaths[worker.number] += 1
        backoff = 0.0 if deaths == 0 else min(_MOST_BACKOFF_S, 0.25 * 2.0**deaths)
        self._waiting[worker.number] = (now + backoff, worker.incarnation + 1)
        found: list[Done] = []
        for position, flight in enumerate(worker.flights):
            work: _Work | None = flight.tag
            if work is None:
                continue
            work.out -= 1
            if self._open.get(work.call.key) is not work:
                continue
            if position == 0 and reason in _MAYBE_ITS_FAULT:
                found += self._counted(work, RuntimeError(f"its worker: {reason}"))
            elif work.out == 0 and work not in self._queue:
                self._queue.appendleft(work)
        return found

    def _look_after(self, worker: Process, now: float) -> list[Done]:
        if not worker.flights:
            return []
        work: _Work | None = worker.flights[0].tag
        if work is None:
            late = worker.age(now) > self._config.start_deadline_s
            # Without any worker the wait may be for the cluster to grow, which starting again does not shorten.
            return self._gone(worker, "did not start", now) if late and self.ready else []
        usual = self._usual(work.call.method)
        verdict = worker.verdict(now, usual, self._config.ping_s, self._config.deadline_s)
        if verdict == SLOW:
            self._hedge(worker, now)
            return []
        return [] if verdict is None else self._gone(worker, verdict, now)

    def _usual(self, method: str) -> float:
        """Seconds after which a call counts as slow."""
        known = self._seconds.get(method)
        if not known:
            return self._config.ping_s
        return max(_LEAST_USUAL_S, self._config.hedge_factor * statistics.median(known))

    def _hedge(self, slow: Process, now: float) -> None:
        """Gives a slow call, or what waits behind it, to an idle worker too."""
        idle = next((worker for worker in self.ready if not worker.flights), None)
        works: list[_Work] = [flight.tag for flight in slow.flights if flight.tag is not None]
        stuck = [work for work in works if self._open.get(work.call.key) is work]
        again = next((work for work in stuck if work.out == 1 and work not in self._queue), None)
        if idle is not None and again is not None:
            self.counters.hedged += 1
            self._send(idle, again, now)
