"""Where the demo's work is done: on a Ray of this machine, or in this process and plain child processes. The numbers agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rayl2o import run
from rayl2o.config import RunConfig
from rayl2o.evaluate.pmap import ParallelMap, process_map
from rayl2o.run import OnRound, TrainResult
from rayl2o.runtime import RoleConfig, RuntimeConfig


@dataclass(frozen=True)
class Place:
    """What the demo needs of a runtime.

    Attributes:
        train: Meta-trains in a new folder.
        spread: An ordered map for independent jobs that leaves so many CPUs to others.
    """

    train: Callable[[RunConfig, Path, OnRound], TrainResult]
    spread: Callable[[int], ParallelMap]


@contextmanager
def _inline() -> Iterator[Place]:
    cpus = len(os.sched_getaffinity(0))
    yield Place(run.train, lambda busy: process_map(max(1, cpus - busy)))


@contextmanager
def _local() -> Iterator[Place]:
    # Here, so that the demo runs inline where Ray does not.
    from rayl2o.cluster.connect import connected
    from rayl2o.cluster.pmap import ray_map
    from rayl2o.cluster.train import train

    # The demo's learner works a tenth of the time; a CPU of its own would be taken from the tuning of the rivals.
    runtime = RuntimeConfig(kind="local", workers=1, learner=RoleConfig(num_cpus=0))

    def on_ray(config: RunConfig, out: Path, on_round: OnRound) -> TrainResult:
        return train(replace(config, runtime=runtime), out, on_round).train

    with connected(runtime):
        yield Place(on_ray, lambda _: ray_map())


PLACES: dict[str, Callable[[], AbstractContextManager[Place]]] = {"local": _local, "inline": _inline}
