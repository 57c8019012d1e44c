"""Starting the processes of a run, each with what its role reserves, and checking them before any work begins."""

from __future__ import annotations

import logging
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private.state import actors
from ray.exceptions import GetTimeoutError, RayError

from rayl2o.cluster.greeting import Greeting, must_agree
from rayl2o.cluster.learner import Begun, Learner, new_incarnation
from rayl2o.cluster.process import Process, cause_of
from rayl2o.cluster.worker import RolloutWorker
from rayl2o.config import RunConfig, dump
from rayl2o.errors import UserError
from rayl2o.folder import scope
from rayl2o.runtime import RoleConfig

_log = logging.getLogger(__name__)

_ROOM_S = 10.0
"""Seconds that a learner waits for a place before a worker makes room: its node may be gone, and the others full."""


class LateError(UserError):
    """A process did not answer in time. It may hang, or its node may: worth another try before the user is told."""


@dataclass(frozen=True)
class Run:
    """What every process of a run is told.

    Attributes:
        config: The run's config; text: the same as it is shipped, so that nothing but text has to be trusted.
        out: The run's folder.
        run_id: Its name.
    """

    config: RunConfig
    out: Path

    @property
    def text(self) -> str:
        """The config as shipped."""
        return dump(self.config)

    @property
    def run_id(self) -> str:
        """Name of the run in tickets."""
        return self.out.name


def start_worker(run: Run, number: int, incarnation: int, now: float) -> Process:
    """A worker whose first call is ``prepare``; :func:`admit` takes its answer."""
    actor = _actor(RolloutWorker, run.config.runtime.worker, "SPREAD").remote(number, incarnation)
    process = Process(actor, "worker", number, incarnation)
    process.call(now, None, "prepare", run.text)
    return process


def admit(greeting: Greeting) -> Greeting:
    """Checks a worker before it gets work. Raises UserError if it cannot take part."""
    for line in must_agree(greeting, "worker", scope()):
        _log.warning("%s", line)
    return greeting


def summon_learner(run: Run, incarnation: int) -> Process:
    """A learner that is being started. Summoned before the workers, it is sure to find a place."""
    name = new_incarnation(socket.gethostname(), incarnation)
    actor = _actor(Learner, run.config.runtime.learner, "DEFAULT").remote(run.text, str(run.out), run.run_id, name)
    return Process(actor, "learner", 0, incarnation)


def seat_learner(run: Run, process: Process, make_room: Callable[[], None]) -> Begun:
    """Waits until a learner has taken the newest checkpoint, or begun. ``make_room`` is called every so often until it is placed.

    Raises:
        LateError: If it does not answer: worth another try.
        UserError: If it cannot start, does not share the run's folder, or runs other versions.
        RayError: If it died meanwhile: worth another try.
    """
    seconds = run.config.runtime.start_deadline_s
    try:
        process.greeting = greeting = _prepared(process, run, seconds, make_room)
        for line in must_agree(greeting, "learner", scope()):
            _log.warning("%s", line)
        begun: Begun = ask(process, "begin", seconds)
        return begun
    except BaseException:
        process.end()
        raise


def ask(process: Process, method: str, seconds: float, *args: Any) -> Any:
    """A call that is waited for. What the method raises is raised here."""
    return _answer(process, method, getattr(process.actor, method).remote(*args), seconds)


def _answer(process: Process, method: str, ref: Any, seconds: float, waited: float = 0.0) -> Any:
    try:
        return ray.get(ref, timeout=max(seconds - waited, 1.0))
    except GetTimeoutError as error:
        raise LateError(
            f"the {process.role} did not answer {method!r} in time",
            value=f"{seconds:.0f} s",
            mend="see 'ray status': CPUs or memory for it may be missing; or raise runtime.start_deadline_s",
        ) from error
    except RayError as error:
        cause = cause_of(error)
        if isinstance(cause, UserError):
            raise cause from None
        raise


def _placed(actor: Any) -> bool:
    """Whether an actor has got its process; the public ways to learn that need Ray's dashboard."""
    return bool(actors(actor._actor_id.hex()).get("Pid"))


def _prepared(process: Process, run: Run, seconds: float, make_room: Callable[[], None]) -> Greeting:
    """The learner's greeting, after it has shown that its folder is the driver's."""
    token = secrets.token_hex(8)
    probe = run.out / f".probe-{token}"
    answer = probe.with_suffix(".answer")
    probe.write_text(token, encoding="ascii")
    try:
        ref, by = process.actor.prepare.remote(probe.name), time.monotonic() + seconds
        while not ray.wait([ref], timeout=_ROOM_S)[0] and time.monotonic() < by:
            if not _placed(process.actor):
                make_room()
        greeting: Greeting = _answer(process, "prepare", ref, seconds, waited=seconds)
        if not answer.is_file() or answer.read_text(encoding="ascii") != f"{token} seen":
            raise UserError(
                "the learner's folder is not the driver's: what it wrote did not arrive",
                value=f"{greeting.host}:{run.out}",
                mend="give an --out on storage that driver and learner share",
            )
        return greeting
    finally:
        probe.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)


def _actor(kind: type[Any], role: RoleConfig, strategy: str) -> Any:
    """An actor class with what its role reserves. Ray never restarts it: the controller does, with a new incarnation, because Ray
    could leave the old one running on a node that it believes dead."""
    decorate: Any = ray.remote  # its stubs do not know concurrency groups
    remote = decorate(max_restarts=0, max_task_retries=0, concurrency_groups={"control": 1})(kind)
    return remote.options(
        num_cpus=role.num_cpus,
        num_gpus=role.num_gpus,
        memory=role.memory_mb * 2**20 or None,
        scheduling_strategy=strategy,
    )
