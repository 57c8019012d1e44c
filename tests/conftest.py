"""Every test runs as results are defined: torch on one thread, denormals flushed. One Ray for all tests that need one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

os.environ.pop("COLUMNS", None)  # xdist names its workers a terminal's width: piped output would be cut to it
torch.set_num_threads(1)
torch.set_flush_denormal(True)

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_memory_monitor_refresh_ms": "0",
}
"""Environment of the tests' Ray; must be set before ray is imported."""
CLUSTER = Path(__file__).parent / "cluster"
PLUGINS = CLUSTER / "plugins"
"""A distribution that the workers of the tests' Ray find, and nobody else."""


takes_minutes = pytest.mark.skipif(
    "RAYL2O_SLOW_TESTS" not in os.environ, reason="takes minutes; set RAYL2O_SLOW_TESTS=1"
)
"""For tests that would take the suite over its ten minutes on two cores."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what starts Ray: Ray's processes are nice and starve beside other tests, so `make suite` runs these apart."""
    for item in items:
        if "ray_local" in getattr(item, "fixturenames", ()) or CLUSTER in item.path.parents:
            item.add_marker(pytest.mark.ray)


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    """Tests never write the cache of the user who runs them; their processes share one, as a user's do."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYL2O_CACHE", folder)
        yield


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """Whatever connects to a local Ray from now on uses this one. More logical CPUs than cores: nothing waits for a slot."""
    os.environ.update(SWITCHES)
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PLUGINS), prepend=os.pathsep)
        ray.init(
            num_cpus=4,
            object_store_memory=150 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
    yield
    ray.shutdown()
