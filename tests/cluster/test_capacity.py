"""What fits where, and how large a local Ray is made."""

from __future__ import annotations

import pytest

from rayl2o.cluster.capacity import asked, cpus_to_start, shortage, store_to_start, workers_wanted
from rayl2o.runtime import RoleConfig, RuntimeConfig

GB = 10**9


def _config(
    workers: int = 0, min_workers: int = 1, worker: RoleConfig | None = None, learner: RoleConfig | None = None
) -> RuntimeConfig:
    return RuntimeConfig(
        kind="local",
        workers=workers,
        min_workers=min_workers,
        worker=worker or RoleConfig(),
        learner=learner or RoleConfig(),
    )


def test_workers_are_those_asked_or_one_per_cpu_that_the_learner_leaves() -> None:
    assert workers_wanted(_config(workers=7), cpus=2) == 7
    assert workers_wanted(_config(), cpus=8) == 7
    assert workers_wanted(_config(), cpus=1) == 1
    assert workers_wanted(_config(min_workers=3), cpus=2) == 3
    assert workers_wanted(_config(worker=RoleConfig(num_cpus=0.5), learner=RoleConfig(num_cpus=0.5)), cpus=2) == 3
    assert workers_wanted(_config(worker=RoleConfig(num_cpus=0.1), learner=RoleConfig(num_cpus=0.7)), cpus=1) == 3
    assert workers_wanted(_config(worker=RoleConfig(num_cpus=0)), cpus=4) == 3


def test_a_local_ray_has_room_for_the_roles() -> None:
    assert cpus_to_start(_config(workers=4), machine=2) == 5
    assert cpus_to_start(_config(workers=1), machine=16) == 16
    assert cpus_to_start(_config(), machine=1) == 2
    assert (
        cpus_to_start(_config(workers=3, worker=RoleConfig(num_cpus=0.5), learner=RoleConfig(num_cpus=0)), machine=1)
        == 2
    )
    assert cpus_to_start(_config(worker=RoleConfig(num_cpus=0), learner=RoleConfig(num_cpus=0)), machine=1) == 1


@pytest.mark.parametrize(
    ("asked_mb", "memory", "shm", "store"),
    [
        (0, 8 * GB, 8 * GB, 800_000_000),
        (0, 64 * GB, 64 * GB, 2 * GB),
        (500, 8 * GB, 8 * GB, 500_000_000),
        (0, 8 * GB, GB // 2, 475_000_000),
        (500, 8 * GB, GB // 4, 237_500_000),
        (0, 8 * GB, 64_000_000, 75 * 2**20),
        (10, 8 * GB, 8 * GB, 75 * 2**20),
    ],
)
def test_the_object_store_is_a_tenth_of_the_memory_within_limits(
    asked_mb: int, memory: int, shm: int, store: int
) -> None:
    assert store_to_start(RuntimeConfig(object_store_mb=asked_mb), memory, shm) == store


@pytest.mark.parametrize(
    ("config", "nodes", "short"),
    [
        (_config(), [{"CPU": 2.0}], ""),
        (_config(), [{"CPU": 1.0}], "CPUs"),
        (_config(), [{}, {"CPU": 1.0}, {"CPU": 1.0}], ""),
        (_config(min_workers=3), [{"CPU": 2.0}, {"CPU": 2.0}], ""),
        (_config(min_workers=4), [{"CPU": 2.0}, {"CPU": 2.0}], "CPUs"),
        (_config(), [], "CPUs"),
        (_config(learner=RoleConfig(num_cpus=2)), [{"CPU": 1.0}] * 3, "nodes that are large enough"),
        (_config(learner=RoleConfig(num_cpus=2)), [{"CPU": 1.0}, {"CPU": 2.0}], ""),
        # The learner must not take the node that only a worker of that size fits on.
        (_config(worker=RoleConfig(num_cpus=4)), [{"CPU": 4.0}, {"CPU": 1.0}], ""),
        (_config(worker=RoleConfig(num_cpus=4)), [{"CPU": 1.0}, {"CPU": 4.0}], ""),
        (_config(min_workers=9, worker=RoleConfig(num_cpus=0.1), learner=RoleConfig(num_cpus=0.1)), [{"CPU": 1.0}], ""),
        (
            _config(min_workers=10, worker=RoleConfig(num_cpus=0.1), learner=RoleConfig(num_cpus=0.1)),
            [{"CPU": 1.0}],
            "CPUs",
        ),
        (_config(learner=RoleConfig(num_gpus=1)), [{"CPU": 8.0}], "GPUs"),
        (_config(learner=RoleConfig(num_gpus=0.5), worker=RoleConfig(num_gpus=0.5)), [{"CPU": 8.0, "GPU": 1.0}], ""),
        (_config(learner=RoleConfig(memory_mb=900)), [{"CPU": 8.0, "memory": 800e6}], "memory"),
        (_config(learner=RoleConfig(memory_mb=700)), [{"CPU": 8.0, "memory": 800e6}], ""),
    ],
)
def test_shortage(config: RuntimeConfig, nodes: list[dict[str, float]], short: str) -> None:
    assert shortage(config, nodes) == short


def test_what_is_asked_is_said() -> None:
    config = _config(min_workers=3, worker=RoleConfig(num_cpus=0.5), learner=RoleConfig(num_gpus=1, memory_mb=900))
    assert asked(config) == "a learner (1 CPU, 1 GPU, 900 MB) and 3 workers (0.5 CPU each)"
    assert asked(_config()) == "a learner (1 CPU) and 1 worker (1 CPU)"
