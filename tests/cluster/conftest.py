"""One Ray instance for all tests that need one; logical CPUs so that nothing waits for a slot."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_memory_monitor_refresh_ms": "0",
}
"""Environment of test clusters; must be set before ray is imported."""


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    os.environ.update(SWITCHES)
    import ray

    ray.init(
        num_cpus=4,
        object_store_memory=150 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    yield
    ray.shutdown()
