"""Lets the first trials of a session begin together.

Tune gives a waiting trial the process of one that ended and ends the process that was starting for it. Where trials are shorter
than the start of a process (seconds), one process would do all trials and the others never come up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray

PATIENCE_S = 60.0
"""The gate opens after this long, however many came: others may use the cluster too."""


class Gate:
    """Made a Ray actor by :func:`gate`."""

    def __init__(self, wanted: int, patience_s: float) -> None:
        self._wanted, self._patience_s = wanted, patience_s
        self._came, self._open = 0, asyncio.Event()

    async def arrive(self) -> int:
        """Returns once ``wanted`` have come, or patience is over; later ones pass at once. How many have come."""
        self._came += 1
        if self._came >= self._wanted:
            self._open.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._open.wait(), self._patience_s)
        self._open.set()
        return self._came


def gate(wanted: int, patience_s: float = PATIENCE_S) -> Any:
    """Handle of a gate, for :func:`enter`; it ends with the last reference to it. None if there is nobody to wait for."""
    if wanted <= 1:
        return None
    return ray.remote(Gate).options(num_cpus=0, max_concurrency=1000).remote(wanted, patience_s)


def enter(handle: Any) -> None:
    """Waits at a gate; without one, or at one that is no more, for nothing."""
    if handle is not None:
        with suppress(ray.exceptions.RayError):
            ray.get(handle.arrive.remote())


def places(nodes: Sequence[Mapping[str, float]], cpus: float, memory: float) -> int:
    """How many trials the nodes hold, were they free, from Ray's resources of each."""
    return sum(
        int(min(node.get("CPU", 0.0) / cpus, node.get("memory", 0.0) / memory if memory else float("inf")) + 1e-4)
        for node in nodes
    )
