"""Two machines on one: work goes across, a cut link is noticed and heals, and nothing is left. Needs root and ``ip netns``."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.cluster.heads import ROOT, wait_until
from tests.conftest import takes_minutes

SCRIPT = ROOT / "scripts" / "two_namespaces.py"

pytestmark = pytest.mark.timeout(150)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces take root and iproute2"
)

# A driver: one actor per node; then calls the far one until the link has been cut and healed, or once.
ACROSS = """
import json, os, sys, time
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
from rayl2o.cluster.connect import connected
from rayl2o.runtime import RuntimeConfig

@ray.remote(num_cpus=0)
class Far:
    def __init__(self):
        self.calls = 0

    def call(self):
        self.calls += 1
        return ray.util.get_node_ip_address(), os.getpid(), self.calls

with connected(RuntimeConfig(kind="cluster", address=sys.argv[1])) as connection:
    far = {}
    for node in ray.nodes():
        actor = Far.options(scheduling_strategy=On(node["NodeID"], soft=False)).remote()
        far[node["NodeManagerAddress"]] = actor, ray.get(actor.call.remote(), timeout=60)
    print(json.dumps({"nodes": connection.nodes, "placed": [[ip, seen[0]] for ip, (_, seen) in sorted(far.items())]}), flush=True)
    actor, (_, pid, _) = far["10.77.0.2"]
    began, silent = time.monotonic(), None
    while sys.argv[2] == "until healed" and time.monotonic() - began < 90:
        asked = time.monotonic()
        try:
            _, now, calls = ray.get(actor.call.remote(), timeout=1)
        except ray.exceptions.RayError:
            silent = silent or asked
            continue
        if silent:
            print(json.dumps({"same": now == pid, "calls": calls, "silent_s": time.monotonic() - silent}))
            break
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("two_namespaces", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _left() -> list[str]:
    """Namespaces and links of any run."""
    names = [
        row.get("name") or row["ifname"]
        for what in (["netns", "list"], ["link", "show"])
        for row in json.loads(
            subprocess.run(["ip", "-json", *what], capture_output=True, text=True, check=True).stdout or "[]"
        )
    ]
    return [name for name in names if name.startswith("r2ns")]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=140)


def test_bad_use_is_said() -> None:
    done = _run("--heal-after", "3", "--", "true")
    assert done.returncode == 2
    assert "--heal-after needs --cut-after" in done.stderr


@needs_root
@takes_minutes
def test_work_goes_across_and_a_short_cut_is_survived() -> None:
    before = _left()
    driver = [sys.executable, "-c", ACROSS, "{address}", "until healed"]
    done = _run("--cut-after", "2", "--heal-after", "4", "--", *driver)
    assert done.returncode == 0, done.stderr
    placed, healed = (json.loads(line) for line in done.stdout.splitlines())
    assert placed == {"nodes": 2, "placed": [["10.77.0.1", "10.77.0.1"], ["10.77.0.2", "10.77.0.2"]]}
    assert healed["same"]
    assert healed["silent_s"] > 1
    assert "link cut" in done.stderr
    assert "link healed" in done.stderr
    assert _left() == before


@needs_root
@takes_minutes
@pytest.mark.timeout(420)
def test_a_run_across_a_cut_link_ends_with_the_same_bytes(tmp_path: Path) -> None:
    rayl2o = [sys.executable, "-c", "import sys; from rayl2o.cli import main; sys.exit(main())"]
    train = [*rayl2o, "train", "quickstart", "updates=30", "--json"]
    alone = subprocess.run(
        [*train, "--out", str(tmp_path / "alone")], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    across = ["--runtime", "cluster", "--address", "{address}", "--workers", "2", "--out", str(tmp_path / "across")]
    timetable = ["--worker-cpus", "3", "--cut-after", "3", "--heal-after", "8"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *timetable, "--", *train, *across],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "link healed" in done.stderr
    assert json.loads(done.stdout)["phi_sha256"] == json.loads(alone.stdout)["phi_sha256"]


@needs_root
def test_the_exit_code_is_the_drivers_and_sigterm_tears_down(script: ModuleType) -> None:
    """Without Ray: namespaces, a process in each, then SIGTERM."""
    code = (
        "import signal, subprocess, sys, importlib.util as u\n"
        f"spec = u.spec_from_file_location('two', {str(SCRIPT)!r}); two = u.module_from_spec(spec)\n"
        "sys.modules['two'] = two; spec.loader.exec_module(two)\n"
        "two.start_node = lambda namespace, *_: subprocess.Popen(['ip', 'netns', 'exec', namespace, 'sleep', '600'])\n"
        "sys.exit(two.main(sys.argv[1:]))\n"
    )
    shown = "sys.stdout.write(sys.argv[1]); sys.stdout.flush()"
    args = [sys.executable, "-c", code, "--", sys.executable, "-c"]
    done = subprocess.run(
        [*args, f"import sys; {shown}; sys.exit(7)", "{address}"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (7, "10.77.0.1:6399")

    command = [*args, f"import sys, time; {shown}; time.sleep(600)", "{address}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.read(4) == "10.7"
        names = script.Names(run.pid)
        assert set(names.namespaces) < set(_left())
        assert len(script.ip("netns", "pids", names.namespaces[1]).split()) == 1
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM
    assert not {*names.namespaces, *names.ends, names.bridge} & set(_left())


@needs_root
def test_what_a_killed_run_left_is_removed(script: ModuleType) -> None:
    owner = subprocess.Popen(["true"])
    owner.wait()  # no process has this number any more
    names = script.Names(owner.pid)
    script.build(names)
    sleeper = subprocess.Popen(["ip", "netns", "exec", names.namespaces[0], "sleep", "600"])
    assert wait_until(lambda: script.ip("netns", "pids", names.namespaces[0]).split(), 10)
    script.tear_down_leftovers()
    assert sleeper.wait(timeout=10) == -signal.SIGKILL
    assert not {*names.namespaces, *names.ends, names.bridge} & set(_left())


def test_the_token_is_its_owners_only(script: ModuleType, tmp_path: Path) -> None:
    env = script.environment(tmp_path)
    assert (tmp_path / "auth_token").stat().st_mode & 0o777 == 0o600
    assert env["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "auth_token")
    assert script.environment(tmp_path) == env
