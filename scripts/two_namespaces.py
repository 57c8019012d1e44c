#!/usr/bin/env python3
"""A Ray cluster of two machines on one: head and worker in two network namespaces, with a link that can be cut. Needs root.

    scripts/two_namespaces.py [--cut-after S [--heal-after S]] [--worker-cpus N] -- COMMAND...

COMMAND runs as driver in the head's namespace, with token authentication; ``{address}`` in it becomes the head's HOST:PORT:

    scripts/two_namespaces.py --cut-after 20 --heal-after 5 -- \\
        rayl2o train quickstart --runtime cluster --address {address} --workers 2 --out /tmp/across

The exit code is COMMAND's. Everything is torn down at the end, also on an error, Ctrl-C or SIGTERM: processes, namespaces, link,
temporary folder. What a run that was SIGKILLed has left, the next run removes.

A cut takes the worker's port off the bridge: both ends keep their carrier and packets vanish, as behind a dead switch.
Both machines share the file system, so a folder that is not shared is not noticed here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HEAD_IP, WORKER_IP, PORT = "10.77.0.1", "10.77.0.2", 6399
PREFIX = "r2ns"
START_S = 90.0
"""Seconds for a node to start."""
RAY = Path(sys.executable).parent / "ray"


@dataclass(frozen=True)
class Names:
    """Names of what one run makes; ``owner`` is the process that tears it down."""

    owner: int

    @property
    def namespaces(self) -> tuple[str, str]:
        return f"{PREFIX}h{self.owner}", f"{PREFIX}w{self.owner}"

    @property
    def bridge(self) -> str:
        return f"{PREFIX}b{self.owner}"

    @property
    def ends(self) -> tuple[str, str]:
        """The links' ends on the bridge, head's and worker's."""
        return f"{PREFIX}x{self.owner}", f"{PREFIX}y{self.owner}"


def say(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")
    sys.stderr.flush()


def ip(*arguments: str, check: bool = True) -> str:
    """Runs ``ip ARGUMENTS``."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=30)
    if check and done.returncode:
        raise SystemExit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def build(names: Names) -> None:
    """Two namespaces, joined by a bridge that has no address of its own."""
    ip("link", "add", names.bridge, "type", "bridge")
    ip("link", "set", names.bridge, "up")
    for namespace, end, address in zip(names.namespaces, names.ends, (HEAD_IP, WORKER_IP), strict=True):
        ip("netns", "add", namespace)
        ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("link", "set", end, "master", names.bridge, "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")


def cut(names: Names) -> None:
    """Packets between the namespaces vanish from now on."""
    ip("link", "set", names.ends[1], "nomaster", check=False)


def heal(names: Names) -> None:
    """Undoes :func:`cut`."""
    ip("link", "set", names.ends[1], "master", names.bridge, check=False)


def tear_down(names: Names) -> None:
    """Ends every process in the namespaces and removes what :func:`build` made, as far as it is there."""
    there = {row["name"] for row in json.loads(ip("-json", "netns", "list", check=False) or "[]")}
    for namespace in names.namespaces:
        if namespace in there:
            end_processes(namespace)
            ip("netns", "delete", namespace, check=False)
    for link in (*names.ends, names.bridge):
        ip("link", "delete", link, check=False)


def end_processes(namespace: str) -> None:
    """Kills what runs in a namespace, until nothing does."""
    for _ in range(100):
        pids = ip("netns", "pids", namespace, check=False).split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.1)
    say(f"processes that do not end in {namespace}: {' '.join(pids)}")


def tear_down_leftovers() -> None:
    """Removes what runs have left whose owner is gone."""
    for row in json.loads(ip("-json", "netns", "list", check=False) or "[]"):
        owner = row["name"].removeprefix(f"{PREFIX}h")
        if owner != row["name"] and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            say(f"removing what process {owner} has left")
            tear_down(Names(int(owner)))


def environment(folder: Path) -> dict[str, str]:
    """Of everything that runs in the namespaces: token authentication, nothing reported to anybody."""
    token = folder / "auth_token"
    if not token.exists():
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return mine | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}


def start_node(namespace: str, folder: Path, name: str, options: Sequence[str], env: Mapping[str, str]) -> None:
    """Starts a Ray node in a namespace and waits until it is up."""
    command = [str(RAY), "start", *options, "--object-store-memory=150000000", "--block"]
    log = folder / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while "runtime started" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the {name} did not start:\n{log.read_text()}")
        time.sleep(0.2)
    say(f"{name} is up in {namespace}")


@contextlib.contextmanager
def cluster(head_cpus: int, worker_cpus: int) -> Iterator[tuple[Names, dict[str, str]]]:
    """The two nodes, while in the ``with`` block."""
    names = Names(os.getpid())
    folder = Path(tempfile.mkdtemp(prefix="r2ns", dir="/tmp"))  # Ray's sockets need a short path
    try:
        build(names)
        env = environment(folder)
        head, worker = names.namespaces
        own = [f"--temp-dir={folder}/t", "--include-dashboard=false", f"--num-cpus={head_cpus}"]
        start_node(head, folder, "head", ["--head", f"--node-ip-address={HEAD_IP}", f"--port={PORT}", *own], env)
        options = [f"--address={HEAD_IP}:{PORT}", f"--node-ip-address={WORKER_IP}", f"--num-cpus={worker_cpus}"]
        start_node(worker, folder, "worker", options, env)
        yield names, env
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
        tear_down(names)
        shutil.rmtree(folder, ignore_errors=True)
        say("all torn down")


def run_driver(command: Sequence[str], env: Mapping[str, str], begun: threading.Event | None) -> int:
    """Runs a driver and returns its exit code. ``begun`` is set by its first output, which otherwise passes through."""
    if begun is None:
        return subprocess.run(command, env=env, check=False).returncode
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        streams = ((driver.stdout, sys.stdout.buffer), (driver.stderr, sys.stderr.buffer))
        threads = [threading.Thread(target=pass_on, args=(*pair, begun)) for pair in streams]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            driver.kill()
            raise
    return driver.returncode


def pass_on(source: IO[bytes], target: IO[bytes], begun: threading.Event) -> None:
    """Copies a stream as it comes."""
    while chunk := os.read(source.fileno(), 65536):
        begun.set()
        target.write(chunk)
        target.flush()


def cut_and_heal(names: Names, cut_after: float, heal_after: float | None, begun: threading.Event) -> None:
    """Cuts the link some seconds after the driver has begun, and heals it after some more. Ends with the process."""
    begun.wait()
    time.sleep(cut_after)
    cut(names)
    say("link cut")
    if heal_after is not None:
        time.sleep(heal_after)
        heal(names)
        say("link healed")


def main(arguments: Sequence[str]) -> int:
    """Runs the command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cut-after", type=float, metavar="S", help="cut the link S seconds after COMMAND's first output"
    )
    parser.add_argument("--heal-after", type=float, metavar="S", help="heal it S seconds after the cut")
    parser.add_argument("--head-cpus", type=int, default=1, metavar="N", help="logical CPUs of the head (default 1)")
    parser.add_argument(
        "--worker-cpus", type=int, default=2, metavar="N", help="logical CPUs of the worker (default 2)"
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the driver; {address} becomes the head's")
    asked = parser.parse_args(arguments)
    if asked.heal_after is not None and asked.cut_after is None:
        parser.error("--heal-after needs --cut-after")
    if os.geteuid() != 0 or shutil.which("ip") is None:
        parser.error("network namespaces need root and the ip command (iproute2)")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    tear_down_leftovers()
    command = [part.replace("{address}", f"{HEAD_IP}:{PORT}") for part in asked.command]
    begun = None if asked.cut_after is None else threading.Event()
    try:
        with cluster(asked.head_cpus, asked.worker_cpus) as (names, env):
            if begun is not None:
                timetable = (names, asked.cut_after, asked.heal_after, begun)
                threading.Thread(target=cut_and_heal, args=timetable, daemon=True).start()
            code = run_driver(["ip", "netns", "exec", names.namespaces[0], *command], env, begun)
    except KeyboardInterrupt:
        return 130
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
