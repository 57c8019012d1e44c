"""One actor, the calls that it has not answered, and whether it is dead, hung or only slow.

Ray answers for the dead. Of a process that hangs it says nothing (SIGSTOP raised nothing until a timeout of our own), and a node
whose link went silent is declared dead after a minute. So every call has a deadline here, and a process that takes longer than
usual is asked whether it is still there, by a method that another thread answers.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayl2o.cluster.greeting import Greeting
from rayl2o.errors import shorten

SLOW, HUNG, OVERDUE = "slow", "hung", "overdue"
DIED, NODE, MEMORY = "died", "node", "out of memory"


@dataclass(eq=False)
class Flight:
    """A call that was sent.

    Attributes:
        tag: The caller's own mark.
        refs: Object references of its results; the first is the one to wait for.
        begun: When it came to the head of its process's queue, seconds of the monotonic clock; None before.
    """

    tag: Any
    refs: list[Any]
    begun: float | None = None


@dataclass(eq=False)
class Process:
    """An actor and its unanswered calls, oldest first: an actor works them off in that order.

    Attributes:
        actor: Ray's handle.
        role, number, incarnation: ``worker`` or ``learner``, which one, how often it was started before.
        greeting: None until it has answered ``prepare``.
        flights: Unanswered calls.
        answered: Calls answered so far.
    """

    actor: Any
    role: str
    number: int
    incarnation: int
    greeting: Greeting | None = None
    flights: deque[Flight] = field(default_factory=deque)
    answered: int = 0
    _ping: Any = None
    _pinged: float = 0.0

    def call(self, now: float, tag: Any, method: str, *args: Any, returns: int = 1) -> Flight:
        """Sends a call."""
        refs = getattr(self.actor, method).options(num_returns=returns).remote(*args)
        flight = Flight(tag, [refs] if returns == 1 else list(refs), None if self.flights else now)
        self.flights.append(flight)
        return flight

    def answer(self, now: float, flight: Flight) -> float:
        """Takes an answered call out of the queue; returns the seconds it took."""
        self.flights.remove(flight)
        self.answered += 1
        self._ping = None
        if self.flights and self.flights[0].begun is None:
            self.flights[0].begun = now
        return now - (now if flight.begun is None else flight.begun)

    def age(self, now: float) -> float:
        """Seconds that the oldest call has taken so far; 0 without one."""
        return now - self.flights[0].begun if self.flights and self.flights[0].begun is not None else 0.0

    def verdict(self, now: float, usual_s: float, ping_s: float, deadline_s: float) -> str | None:
        """What to think of the oldest call: nothing, ``slow`` (takes longer than usual, but the process answers), ``hung`` (it
        does not) or ``overdue`` (past the deadline)."""
        age = self.age(now)
        if age <= usual_s:
            return None
        if age > deadline_s:
            return OVERDUE
        if self._ping is None:
            self._ping, self._pinged = self.actor.ping.remote(), now
            return None
        ready, _ = ray.wait([self._ping], timeout=0, fetch_local=False)
        if not ready:
            return HUNG if now - self._pinged > ping_s else None
        if now - self._pinged > ping_s:
            self._ping = None  # ask again: it may have stopped since
        return SLOW

    def end(self) -> None:
        """Kills the actor; also one that owes an answer, which may be stopped and not hear of it."""
        with suppress(RayError):
            ray.kill(self.actor, no_restart=True)
        if self.greeting is not None and self.flights:
            _reap_on(self.greeting)


def cause_of(error: RayError) -> BaseException:
    """The exception that a remote method raised, or Ray's own error."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    return error if cause is None else cause


def loss_of(error: BaseException) -> bool:
    """Whether a call failed because one of its arguments is lost."""
    return isinstance(error, ObjectLostError) or (
        isinstance(error, RayTaskError) and isinstance(error.cause, ObjectLostError)
    )


def why_lost(error: RayError) -> str:
    """An error of a process that is given up, in a few words."""
    return death_of(error) or shorten(str(cause_of(error)))


def death_of(error: RayError) -> str | None:
    """Why a process is gone, if the error says that it is."""
    if isinstance(error, RayTaskError):
        return None
    text = str(error).lower()
    # The text about any other sudden death mentions the kernel's OOM killer as a possibility.
    if isinstance(error, OutOfMemoryError) or "low on memory" in text:
        return MEMORY
    if isinstance(error, NodeDiedError) or "its node has died" in text:
        return NODE
    if isinstance(error, (ActorDiedError, ActorUnavailableError)):
        return DIED
    return None


def _reap_on(greeting: Greeting) -> None:
    """``ray.kill`` is a message that a stopped process does not read; a signal needs a process on its node."""
    if greeting.node == ray.get_runtime_context().get_node_id():
        _reap(greeting.pid)
        return
    strategy = NodeAffinitySchedulingStrategy(greeting.node, soft=False)
    with suppress(RayError):
        _reaper.options(scheduling_strategy=strategy).remote(greeting.pid, greeting.node)


@ray.remote(num_cpus=0, max_retries=0)
def _reaper(pid: int, node: str) -> None:
    if ray.get_runtime_context().get_node_id() == node:
        _reap(pid)


def _reap(pid: int) -> None:
    """SIGKILL, if the process id still belongs to a Ray actor of ours."""
    with suppress(OSError):
        if b"ray::" in (Path("/proc") / str(pid) / "cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
