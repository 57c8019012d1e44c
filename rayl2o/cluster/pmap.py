"""An ordered map over a Ray cluster, for whoever takes a ``pmap``: the same contract as ``evaluate.pmap.process_map``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from rayl2o.cluster.pinned import pin
from rayl2o.cluster.process import cause_of
from rayl2o.errors import UserError
from rayl2o.evaluate.pmap import ParallelMap

_AHEAD = 256
"""Calls handed to Ray before the first has answered; more would only fill its queues."""


def ray_map(num_cpus: float = 1.0, retries: int = 3) -> ParallelMap:
    """An ordered map of a Ray task per item, each on one thread with denormals flushed.

    Results are yielded lazily and in order. A task whose process or node dies is made again up to ``retries`` times: functions
    must be pure. An exception of the function is raised here; leaving the iteration early cancels what is left.

    Args:
        num_cpus: Logical CPUs per task.
        retries: For lost processes, not for exceptions.

    Raises:
        UserError: From the iteration, if the cluster loses a task more often than that.
    """

    def pmap(function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        remote = _apply.options(num_cpus=num_cpus, max_retries=retries)
        shared = ray.put(function)
        coming, waiting = iter(items), deque[Any]()
        try:
            while True:
                for item in coming:
                    waiting.append(remote.remote(shared, item))
                    if len(waiting) >= _AHEAD:
                        break
                if not waiting:
                    return
                yield _result(waiting.popleft())
        finally:
            for ref in waiting:
                with suppress(RayError):
                    ray.cancel(ref, force=True)

    return pmap


def _result(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except RayError as error:
        cause = cause_of(error)
        if isinstance(cause, RayError):
            raise UserError(
                "a task was lost on Ray",
                value=type(cause).__name__,
                mend="see 'ray status': memory or nodes may be short",
            ) from error
        raise cause from error


@ray.remote
def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    pin()
    return function(item)
