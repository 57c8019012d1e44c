"""Starts a local Ray or joins a cluster, and says in one line why that is impossible, before any work starts."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from rayl2o.cluster import auth, probe
from rayl2o.cluster.capacity import asked, cpus_to_start, shortage, store_to_start
from rayl2o.errors import UserError
from rayl2o.runtime import RuntimeConfig

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_UNKNOWN_SHM = 2 * 10**9
_HEAD_TRIES_S = "2"
"""Seconds that Ray tries to reach a head that has just answered."""

_log = logging.getLogger(__name__)

# What is wrong, and the mend; ``{detail}`` is the probe's.
_REFUSALS = {
    "none found": (
        "no running Ray cluster was found on this machine",
        "'ray start --head' starts one; or give --address HOST:PORT",
    ),
    "several found": ("several Ray clusters run on this machine", "give --address, one of {detail}"),
    "malformed": ("not the address of a Ray cluster", "--address auto or HOST:PORT of its head, e.g. 10.0.0.1:6379"),
    "unreachable": (
        "no Ray cluster can be reached",
        "{detail}: does its head run, and may this machine reach the port?",
    ),
    "silent": (
        "no Ray head answers",
        "{detail}: is it the port that 'ray start --head' printed, with the same TLS settings?",
    ),
    "versions": ("the Ray cluster runs other versions than this process", "{detail}; install the same on both sides"),
    "elsewhere": (
        "this machine is not a node of the Ray cluster",
        "'ray start --address HOST:PORT' makes it one; or send the run with 'ray job submit'",
    ),
    "refused": (
        "the Ray cluster refuses this token",
        "'ray get-auth-token' prints the right one on its head; keep it in a file and set RAY_AUTH_TOKEN_PATH",
    ),
    "refused without": (
        "the Ray cluster wants a token",
        "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with what 'ray get-auth-token' prints on its head",
    ),
}


@dataclass(frozen=True)
class Connection:
    """A Ray that this process is connected to.

    Attributes:
        address: ``HOST:PORT`` of its head.
        started: Whether :func:`connected` started it, so that it ends with it.
        nodes: Nodes alive.
        cpus, gpus: Logical resources of all nodes, free or not.
    """

    address: str
    started: bool
    nodes: int
    cpus: float
    gpus: float


@contextlib.contextmanager
def connected(config: RuntimeConfig) -> Iterator[Connection]:
    """Connects to Ray while in the ``with`` block.

    ``local`` starts a Ray and ends all its processes, also on an error, Ctrl-C or SIGTERM. ``cluster`` joins one and
    leaves it. A Ray to which this process is connected already is used, and left as it is. Only a SIGKILL of this process
    leaves something behind: two of Ray's agents, for about a minute.

    Raises:
        UserError: Ray cannot be started, or joined (said within 30 s; see :mod:`rayl2o.cluster.probe`).
    """
    assert config.kind in ("local", "cluster"), config.kind
    if ray.is_initialized():
        yield _connection(started=False)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _own_sigterm(), _messages_to_log():
        if config.kind == "local":
            _start(config)
        else:
            _join(config.address)
        try:
            yield _connection(started=config.kind == "local")
        finally:
            ray.shutdown(wait_for_processes=True)


def require_roles(config: RuntimeConfig, connection: Connection) -> None:
    """Checks that the learner and ``min_workers`` workers fit on the nodes that are there now, were all of them free.

    Raises:
        UserError: They do not; with what is short.
    """
    short = shortage(config, [node["Resources"] for node in _nodes()])
    if short:
        nodes = f"{connection.nodes} node{'s' * (connection.nodes != 1)}"
        raise UserError(
            f"too few {short} for the roles asked",
            value=f"{connection.cpus:g} CPUs and {connection.gpus:g} GPUs on {nodes}",
            mend=f"{asked(config)} must fit: lower runtime.min_workers or what a role reserves, or add nodes",
        )


def _connection(started: bool) -> Connection:
    nodes = _nodes()
    cpus, gpus = (sum(float(node["Resources"].get(name, 0.0)) for node in nodes) for name in ("CPU", "GPU"))
    return Connection(str(ray.get_runtime_context().gcs_address), started, len(nodes), cpus, gpus)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _start(config: RuntimeConfig) -> None:
    from ray._common.utils import get_system_memory
    from ray._private.utils import get_num_cpus, get_shared_memory_bytes

    if auth.wanted(os.environ):
        auth.have_token(os.environ, create=True)
        auth.turn_on()
    try:
        shm = int(get_shared_memory_bytes())  # type: ignore[no-untyped-call]
    except OSError:  # no /dev/shm here
        shm = _UNKNOWN_SHM
    with _environment(dict.fromkeys(_THREADS, "1")):  # Ray's processes inherit it
        _init(
            "Ray does not start on this machine",
            "see /tmp/ray/session_latest/logs; it needs room in /tmp and /dev/shm",
            address="local",
            num_cpus=cpus_to_start(config, int(get_num_cpus())),
            object_store_memory=store_to_start(config, int(get_system_memory()), shm),
            include_dashboard=False,
        )


def _join(address: str) -> None:
    if auth.wanted(os.environ):
        if auth.have_token(os.environ, create=False):
            auth.turn_on()
        elif os.environ.get(auth.MODE):
            raise UserError(
                "token authentication is on and there is no token",
                value=str(auth.default_file()),
                mend=f"keep the cluster's token there, or set {auth.TOKEN_PATH}, or {auth.MODE}=disabled for one without",
            )
    seen = probe.look(address)
    if seen["problem"]:
        raise refusal(address, seen)
    with _environment({"RAY_gcs_server_port_wait_time_s": _HEAD_TRIES_S}):
        _init("the Ray cluster cannot be joined", "see 'ray status' and the head's logs", address=seen["address"])


def refusal(address: str, seen: Mapping[str, str]) -> UserError:
    """The line that says why a cluster cannot be joined.

    Args:
        address: As the user gave it.
        seen: What :func:`rayl2o.cluster.probe.look` returned, with a problem.
    """
    problem = seen["problem"]
    if problem == "refused" and os.environ.get(auth.MODE, "").lower() != "token":
        problem = "refused without"
    what, mend = _REFUSALS[problem]
    value = address if seen["address"] == address else f"{address}: {seen['address']}"
    detail = seen["detail"]
    if problem == "versions":
        detail = f"{detail} there, Ray {ray.__version__} on Python {platform.python_version()} here"
    return UserError(what, value=value, mend=mend.format(detail=detail))


def _init(what: str, mend: str, **arguments: Any) -> None:
    """``ray.init``, quiet, in a namespace of its own. Whatever interrupts it, nothing half-started is left."""
    try:
        ray.init(namespace=f"rayl2o-{uuid.uuid4().hex[:12]}", log_to_driver=False, configure_logging=False, **arguments)
    except BaseException as error:
        ray.shutdown(wait_for_processes=True)
        if not isinstance(error, Exception):
            raise
        raise UserError(what, value=_first_line(str(error)) or type(error).__name__, mend=mend) from error


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables that are not set, for a while."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _messages_to_log() -> Iterator[None]:
    """Ray prints what befalls a cluster (a node died, ...) on the driver's stdout, which is for results. Here it is logged."""
    from ray._private import worker as driver

    def logged(data: Mapping[str, Any], *_: object, **__: object) -> None:
        for text in data["lines"]:
            _log.warning("Ray: %s", _first_line(text))

    printed = driver.print_to_stdstream
    driver.print_to_stdstream = logged
    try:
        yield
    finally:
        driver.print_to_stdstream = printed


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray makes SIGTERM a ``SystemExit`` and leaves it so. Here it is put back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)
