"""A Ray cluster of several nodes on this machine, in a process of its own: nodes can be added, drained, removed and killed.

Its files are in a temporary folder of its own, so that nobody's ``ray.init(address="auto")`` finds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults import Running, end_all, running_below

QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}
"""Ray's system settings with which a lost node is noticed within seconds."""
SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_memory_monitor_refresh_ms": "0",
}
"""Environment of a private test cluster."""
_ROOT = Path(__file__).parents[1]
_ANSWER_S = 60.0


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        number: 0 for the head, then in the order of their start.
        raylet: Process id of its raylet.
        name: Ray's id of it.
    """

    number: int
    raylet: int
    name: str


@dataclass
class Nodes:
    """The cluster, as a context manager.

    Attributes:
        cpus: Logical CPUs of the head and of every further node.
        store_mb: Object store of each.
        system: Ray's system settings.
        environment: More environment variables for all its processes.
    """

    cpus: Sequence[int]
    store_mb: int = 80
    system: Mapping[str, Any] = field(default_factory=lambda: QUICK)
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    nodes: dict[int, Node] = field(default_factory=dict)

    def __enter__(self) -> Nodes:
        self._folder = Path(tempfile.mkdtemp(prefix="r2f-", dir="/tmp"))  # Ray's sockets need a short path
        self._seen: dict[int, Running] = {}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.nodes"],
            cwd=_ROOT,
            env=self.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            for place, cpus in enumerate(self.cpus):
                self.add(cpus, self.system if place == 0 else {})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.look()
        with contextlib.suppress(OSError, ValueError):
            self._say({"do": "stop"})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(20)
        self._server.kill()
        self._server.communicate()
        end_all(list(self._seen.values()))
        shutil.rmtree(self._folder, ignore_errors=True)

    def variables(self) -> dict[str, str]:
        """The environment for drivers: nothing about Ray but what this cluster needs."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**mine, **SWITCHES, "RAY_TMPDIR": str(self._folder), **self.environment}

    @property
    def raylets(self) -> list[int]:
        """Process ids of the raylets: all processes of runs here descend from them."""
        return [node.raylet for node in self.nodes.values()]

    def add(self, cpus: int, system: Mapping[str, Any] | None = None) -> Node:
        """Adds a node and waits until the head knows it."""
        order = {"do": "add", "cpus": cpus, "store": self.store_mb * 2**20, "system": dict(system or {})}
        said = self._ask(order)
        node = Node(said["number"], said["raylet"], said["name"])
        self.nodes[node.number] = node
        self.address = said["address"]
        return node

    def kill(self, number: int) -> None:
        """SIGKILL for the raylet: the head is not told, and the workers notice by themselves."""
        self.look()
        os.kill(self.nodes.pop(number).raylet, signal.SIGKILL)
        self._ask({"do": "bury", "number": number})

    def remove(self, number: int) -> None:
        """Has a node end in an orderly way."""
        self.look()
        del self.nodes[number]
        self._ask({"do": "remove", "number": number})

    def drain(self, number: int, seconds: float) -> None:
        """Announces that a node will end in so many seconds, as before a pre-emption; :meth:`remove` it then."""
        self._ask({"do": "drain", "number": number, "seconds": seconds})

    def look(self) -> list[Running]:
        """Takes note of all processes of the cluster that there are now."""
        found = running_below([self._server.pid])
        self._seen |= {one.pid: one for one in found}
        return found

    def _say(self, order: Mapping[str, Any]) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()

    def _ask(self, order: Mapping[str, Any]) -> Any:
        assert self._server.stdout is not None
        self._say(order)
        line = self._server.stdout.readline()
        self.look()
        if not line:
            raise RuntimeError(f"the cluster's process ended at {order['do']!r}")
        return json.loads(line)


def _serve() -> None:
    """Obeys the orders on stdin."""
    import ray  # noqa: F401 (first, or its sub-modules do not load)
    from ray.cluster_utils import Cluster

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Ray prints
    cluster: Any = Cluster()
    nodes: list[Any] = []
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "stop":
            break
        said: dict[str, Any] = {}
        if order["do"] == "add":
            nodes.append(_add(cluster, order))
            raylet = nodes[-1].all_processes["raylet"][0].process.pid
            said = {
                "number": len(nodes) - 1,
                "raylet": raylet,
                "name": nodes[-1].node_id,
                "address": str(cluster.address),
            }
        elif order["do"] == "drain":
            _drain(str(cluster.address), nodes[order["number"]].node_id, order["seconds"])
        else:
            cluster.remove_node(nodes[order["number"]], allow_graceful=order["do"] == "remove")
        answers.write(json.dumps(said) + "\n")
        answers.flush()
    cluster.shutdown()


def _add(cluster: Any, order: Mapping[str, Any]) -> Any:
    system = {"_system_config": order["system"]} if order["system"] else {}
    return cluster.add_node(
        num_cpus=order["cpus"], object_store_memory=order["store"], include_dashboard=False, **system
    )


def _drain(address: str, node: str, seconds: float) -> None:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")  # type: ignore[attr-defined]
    by = int((time.time() + seconds) * 1000)
    accepted, why = GcsClient(address=address).drain_node(node, reason, "test", by)
    if not accepted:
        raise RuntimeError(why)


if __name__ == "__main__":
    _serve()
