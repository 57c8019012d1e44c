"""What the roles of a run need, what nodes have room for, and how large a local Ray is made."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from rayl2o.runtime import RoleConfig, RuntimeConfig

_MB = 10**6
_MOST_STORE = 2_000 * _MB
_LEAST_STORE = 75 * 2**20
"""Ray refuses a smaller object store, in bytes."""
_SHM_SHARE = 0.95
_TOLERANCE = 1e-4
"""Ray's own resolution of resources."""
_RESOURCES = (("CPU", "CPUs"), ("GPU", "GPUs"), ("memory", "memory"))

_log = logging.getLogger(__name__)


def workers_wanted(config: RuntimeConfig, cpus: float) -> int:
    """How many roll-out workers to ask for: ``workers``, or, if that is 0, as many as the learner leaves CPUs for.

    Args:
        config: Of the run.
        cpus: Logical CPUs of all nodes.
    """
    if config.workers:
        return config.workers
    each = config.worker.num_cpus or 1.0
    return max(config.min_workers, math.floor((cpus - config.learner.num_cpus) / each + _TOLERANCE))


def shortage(config: RuntimeConfig, nodes: Sequence[Mapping[str, float]]) -> str:
    """What the nodes, were they all free, lack for the learner and ``min_workers`` workers.

    Args:
        config: Says what a role reserves.
        nodes: Per node Ray's resources: ``CPU``, ``GPU``, ``memory`` in bytes.

    Returns:
        ``CPUs``, ``GPUs``, ``memory``, or, if there is enough in sum, ``nodes that are large enough``; empty if all fits.
    """
    learner, worker = _needs(config.learner), _needs(config.worker)
    for name, text in _RESOURCES:
        if learner[name] + config.min_workers * worker[name] > sum(node.get(name, 0.0) for node in nodes) + _TOLERANCE:
            return text
    for place in range(len(nodes)):
        rest = [
            {name: node.get(name, 0.0) - (at == place) * learner[name] for name in learner}
            for at, node in enumerate(nodes)
        ]
        if min(rest[place].values()) > -_TOLERANCE and sum(_room(node, worker) for node in rest) >= config.min_workers:
            return ""
    return "nodes that are large enough"


def asked(config: RuntimeConfig) -> str:
    """Says what the learner and ``min_workers`` workers reserve."""

    def one(role: RoleConfig) -> str:
        gpus = f", {role.num_gpus:g} GPU" if role.num_gpus else ""
        return f"{role.num_cpus:g} CPU{gpus}" + (f", {role.memory_mb} MB" if role.memory_mb else "")

    workers = f"{config.min_workers} worker{'s' * (config.min_workers > 1)}"
    return f"a learner ({one(config.learner)}) and {workers} ({one(config.worker)}{' each' * (config.min_workers > 1)})"


def cpus_to_start(config: RuntimeConfig, machine: int) -> int:
    """Logical CPUs of a local Ray: the machine's, or more where the roles asked need them."""
    workers = workers_wanted(config, machine)
    return max(machine, math.ceil(workers * config.worker.num_cpus + config.learner.num_cpus - _TOLERANCE), 1)


def store_to_start(config: RuntimeConfig, memory: int, shm: int) -> int:
    """Bytes of a local Ray's object store.

    Args:
        config: Its ``object_store_mb``; 0 means a tenth of the memory, at most 2,000 MB.
        memory: Bytes of memory of the machine or container.
        shm: Bytes free in ``/dev/shm``. The store never takes more, unless that is below Ray's least; then it is in ``/tmp``.
    """
    wanted = config.object_store_mb * _MB or min(memory // 10, _MOST_STORE)
    store = min(wanted, int(_SHM_SHARE * shm))
    if config.object_store_mb and store < wanted:
        _log.warning("object store of %d MB instead of %d: /dev/shm has no more", store // _MB, config.object_store_mb)
    return max(store, _LEAST_STORE)


def _needs(role: RoleConfig) -> dict[str, float]:
    return {"CPU": role.num_cpus, "GPU": role.num_gpus, "memory": float(role.memory_mb * _MB)}


def _room(node: Mapping[str, float], needs: Mapping[str, float]) -> float:
    """How many processes that need so much fit on a node."""
    rooms = (math.floor(node[name] / amount + _TOLERANCE) for name, amount in needs.items() if amount > 0)
    return min(rooms, default=math.inf)
