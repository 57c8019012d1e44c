"""Starting and joining Ray, for real: each driver is a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from rayl2o.cluster.connect import _REFUSALS, connected, refusal, require_roles
from rayl2o.errors import UserError
from rayl2o.runtime import RoleConfig, RuntimeConfig
from tests.cluster.heads import ROOT, Head, alive, descendants, environment, facts, free_port, head, run, wait_until

pytestmark = pytest.mark.timeout(120)

JOIN = """
import sys
from rayl2o.cluster.connect import connected, require_roles
from rayl2o.errors import UserError
from rayl2o.runtime import RuntimeConfig
config = RuntimeConfig(kind="cluster", address=sys.argv[1], min_workers=int(sys.argv[2]))
try:
    with connected(config) as connection:
        print(f"nodes={connection.nodes}\\ncpus={connection.cpus}\\nstarted={connection.started}\\naddress={connection.address}")
        require_roles(config, connection)
except UserError as error:
    print(f"error={error}")
"""

RECORD = """
import json, sys
from ray._common.usage.usage_lib import get_cluster_metadata
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
metadata = get_cluster_metadata(client) | {"ray_version": sys.argv[2]}
client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(metadata).encode(), True, b"cluster")
"""

LOCAL = """
import logging, os, signal, sys, time
import ray
from ray._private.utils import publish_error_to_driver
from ray._private.worker import global_worker
from rayl2o.cluster.connect import connected, require_roles
from rayl2o.runtime import RuntimeConfig

def handler(*_): pass

logged = []
handling = logging.Handler()
handling.emit = lambda record: logged.append(record.getMessage())
logging.getLogger("rayl2o").addHandler(handling)

signal.signal(signal.SIGTERM, handler)
config = RuntimeConfig(kind="local", workers=5, object_store_mb=100)
with connected(config) as connection:
    require_roles(config, connection)
    threads = ray.get(ray.remote(lambda: os.environ.get("OMP_NUM_THREADS")).options(num_cpus=2).remote())
    store = int(ray.cluster_resources()["object_store_memory"])
    print(f"nodes={connection.nodes}\\ncpus={connection.cpus}\\nstarted={connection.started}\\nthreads={threads}\\nstore={store}")
    print(f"mode={os.environ['RAY_AUTH_MODE']}\\nmine={os.environ.get('OMP_NUM_THREADS')}")
    print(f"namespace={ray.get_runtime_context().namespace}")
    publish_error_to_driver("test", "\\na node died\\nand more", gcs_client=global_worker.gcs_client)
    until = time.monotonic() + 20
    while not logged and time.monotonic() < until:
        time.sleep(0.05)
    print(f"logged={logged}")
print(f"after={ray.is_initialized()}\\nhandler={signal.getsignal(signal.SIGTERM) is handler}")
"""

WAIT = """
import sys, time
from rayl2o.cluster.connect import connected
from rayl2o.runtime import RuntimeConfig
with connected(RuntimeConfig(kind="local", workers=1, object_store_mb=100)):
    print("up", flush=True)
    time.sleep(100)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Head]:
    with head() as running:
        yield running


def _join(where: str, home: Path, workers: str = "1", **more: str) -> dict[str, str]:
    done = run(JOIN, home, where, workers, **more)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return dict(facts(done.stdout))


def test_a_driver_with_the_token_joins_and_leaves_the_cluster_running(cluster: Head) -> None:
    port = cluster.address.rpartition(":")[2]
    for where in (cluster.address, "auto"):
        found = _join(where, cluster.home, RAY_ADDRESS=cluster.address)
        assert (found["nodes"], found["cpus"], found["started"]) == ("1", "2.0", "False")
        assert found["address"].endswith(f":{port}")
        assert "error" not in found


def test_a_token_from_the_environment_does_too(cluster: Head, tmp_path: Path) -> None:
    assert _join(cluster.address, tmp_path, RAY_AUTH_TOKEN=cluster.token)["nodes"] == "1"


def test_too_few_cpus_are_said(cluster: Head) -> None:
    error = _join(cluster.address, cluster.home, "4")["error"]
    assert error == (
        "too few CPUs for the roles asked: got '2 CPUs and 0 GPUs on 1 node'; a learner (1 CPU) and 4 workers (1 CPU each) "
        "must fit: lower runtime.min_workers or what a role reserves, or add nodes"
    )


def test_a_wrong_token_is_said(cluster: Head, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    error = _join(cluster.address, tmp_path, RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"))["error"]
    assert error.startswith("the Ray cluster refuses this token: got '127.0.0.1:")
    assert "'ray get-auth-token'" in error
    assert "RAY_AUTH_TOKEN_PATH" in error


@pytest.mark.parametrize("more", [{}, {"RAY_AUTH_MODE": "disabled"}])
def test_no_token_where_one_is_needed_is_said(cluster: Head, tmp_path: Path, more: dict[str, str]) -> None:
    error = _join(cluster.address, tmp_path, **more)["error"]
    assert error.startswith("the Ray cluster wants a token: got '127.0.0.1:")
    assert "RAY_AUTH_MODE=token" in error
    assert not (tmp_path / ".ray").exists()


def test_token_mode_without_a_token_is_said(cluster: Head, tmp_path: Path) -> None:
    error = _join(cluster.address, tmp_path, RAY_AUTH_MODE="token")["error"]
    assert error.startswith("token authentication is on and there is no token: got")
    assert str(tmp_path) in error


def test_other_versions_are_said(cluster: Head) -> None:
    def record(version: str) -> None:
        done = run(RECORD, cluster.home, cluster.address, version, RAY_AUTH_MODE="token")
        assert done.returncode == 0, done.stderr

    record("2.9.3")
    try:
        error = _join(cluster.address, cluster.home)["error"]
    finally:
        record(ray.__version__)
    assert error.startswith("the Ray cluster runs other versions than this process: got '127.0.0.1:")
    assert "; Ray 2.9.3 on Python 3." in error
    assert f" there, Ray {ray.__version__} on Python 3." in error
    assert error.endswith(" here; install the same on both sides")


def test_an_address_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert _join(address, tmp_path)["error"] == (
        f"no Ray cluster can be reached: got '{address}'; "
        "Connection refused: does its head run, and may this machine reach the port?"
    )
    assert "not the address of a Ray cluster: got 'ray://h:1'" in _join("ray://h:1", tmp_path)["error"]


def _join_unseen(where: str, home: Path) -> str:
    """Joins from a process that sees no other processes, so that no node seems to run on this machine."""
    hidden = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", JOIN, where, "1"]
    done = subprocess.run(hidden, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=60)
    return facts(done.stdout).get("error", done.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding a cluster's processes from a driver takes root (unshare --pid)")
def test_a_machine_without_a_node_of_the_cluster_is_said(cluster: Head) -> None:
    assert _join_unseen(cluster.address, cluster.home).startswith(
        f"this machine is not a node of the Ray cluster: got '{cluster.address}'; 'ray start --address"
    )
    assert _join_unseen("auto", cluster.home) == (
        "no running Ray cluster was found on this machine: got 'auto'; "
        "'ray start --head' starts one; or give --address HOST:PORT"
    )


def test_every_problem_has_its_line() -> None:
    for problem in _REFUSALS:
        error = refusal("auto", {"address": "h:1", "problem": problem, "detail": "what the probe saw"})
        assert "got 'auto: h:1'; " in str(error)
        assert "{" not in str(error)


def test_a_local_ray_is_limited_quiet_and_gone_afterwards(tmp_path: Path) -> None:
    done = run(LOCAL, tmp_path, RAY_ADDRESS="192.0.2.1:6379")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = facts(done.stdout)
    assert (found["nodes"], found["started"], found["after"]) == ("1", "True", "False")
    assert float(found["cpus"]) >= 6
    assert (found["threads"], found["mine"], found["store"]) == ("1", "None", "100000000")
    assert found["mode"] == "token"
    assert found["namespace"].startswith("rayl2o-")
    assert found["handler"] == "True"
    assert found["logged"] == "['Ray: a node died']"  # Ray would print it on stdout
    assert "and more" not in done.stdout
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


def test_sigterm_ends_a_local_ray_with_all_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAIT]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        processes = descendants(driver.pid)
        assert len(alive(processes)) > 2
        driver.send_signal(signal.SIGTERM)
        driver.communicate(timeout=60)
    assert driver.returncode != 0
    assert wait_until(lambda: not alive(processes), 10), alive(processes)


@pytest.mark.usefixtures("ray_local")
def test_a_ray_that_runs_already_is_used_and_left_running() -> None:
    config = RuntimeConfig(kind="local", workers=2)
    with connected(config) as connection:
        assert not connection.started
        assert connection.nodes == 1
        assert connection.cpus == 4.0
        require_roles(config, connection)
        with pytest.raises(
            UserError, match=r"too few GPUs for the roles asked: got '4 CPUs and 0 GPUs on 1 node'; .* 1 GPU"
        ):
            require_roles(RuntimeConfig(kind="local", learner=RoleConfig(num_gpus=1)), connection)
    assert ray.is_initialized()


@pytest.mark.usefixtures("ray_local")
def test_an_error_inside_passes_through_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError), connected(RuntimeConfig(kind="local")):
        json.dumps(1 / 0)
    assert ray.is_initialized()
