"""Looks at a Ray cluster from a process of its own, before anybody joins it.

Joining is no way to find out. Ray 2.60, measured: with a wrong token it tries for 20 s and writes a line per second; on a
port where nothing listens it was still trying after 2 minutes, on one with another service 40 s per try; told to use a token
where there is none it aborts the process. A look takes about 1 s, at most 25 s, writes nothing, and cannot harm its caller.
This file is also the program that looks, so it imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

_CONNECT_S = 4.0
"""Seconds for a TCP connection."""
_NODE_S = 5
"""Seconds for a node of the cluster to turn up on this machine; one may have been started just now."""
_LOOK_S = 25.0
"""Seconds for everything."""


def look(address: str, timeout_s: float = _LOOK_S) -> dict[str, Any]:
    """What is behind an address.

    Args:
        address: ``HOST:PORT`` or ``auto``: ``RAY_ADDRESS``, else a cluster that ``ray start`` started on this machine.
        timeout_s: Seconds after which there is no answer.

    Returns:
        ``address`` (where known, ``HOST:PORT``), ``problem`` and ``detail``. Problems: ``none found``, ``several found``,
        ``malformed``, ``unreachable``, ``refused`` (token), ``silent`` (no Ray answers), ``versions``, ``elsewhere`` (no
        node of it on this machine); empty if it can be joined.
    """
    command = [sys.executable, "-P", __file__, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return {"address": address, "problem": "silent", "detail": f"no answer within {timeout_s:.0f} s"}
    lines = done.stdout.splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (IndexError, ValueError):
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return {"address": address, "problem": "silent", "detail": said[0] if said else f"exit code {done.returncode}"}


def parse(address: str) -> tuple[str, int] | None:
    """Host and port of ``HOST:PORT``, ``[IPv6]:PORT``; None if it is none."""
    host, colon, port = address.strip().rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or "/" in host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        return None
    return host, int(port)


def choose(named: str | None, running: frozenset[str], recorded: str | None) -> tuple[str, str]:
    """Which cluster ``auto`` means.

    Args:
        named: ``RAY_ADDRESS``.
        running: Addresses of the clusters that have a node on this machine.
        recorded: The one that ``ray start`` started last, running or not.

    Returns:
        Address and problem; one of them is empty.
    """
    if named and named not in ("auto", "local"):
        return named, ""
    if recorded in running:
        return str(recorded), ""
    if len(running) > 1:
        return "", "several found"
    return (next(iter(running)), "") if running else ("", "none found")


def _look(address: str) -> dict[str, Any]:
    running: frozenset[str] = frozenset()
    if address == "auto":
        from ray._private.services import find_bootstrap_address, find_gcs_addresses

        running = find_gcs_addresses()  # type: ignore[no-untyped-call]
        named = os.environ.get("RAY_ADDRESS")
        address, problem = choose(named, running, find_bootstrap_address(None))
        if problem:
            return {"address": "auto", "problem": problem, "detail": ", ".join(sorted(running))}
        running -= {named}
    place = parse(address)
    if place is None:
        return {"address": address, "problem": "malformed", "detail": ""}
    try:
        socket.create_connection(place, timeout=_CONNECT_S).close()
    except OSError as error:
        return {"address": address, "problem": "unreachable", "detail": error.strerror or str(error)}
    return {"address": address, "problem": "", "detail": ""} | _ask(address, address in running)


def _ask(address: str, found: bool) -> dict[str, Any]:
    """Asks the head for its versions and for a node on this machine. ``found``: nobody named this cluster."""
    from ray._common.usage.usage_lib import get_cluster_metadata
    from ray._private import services
    from ray._private.utils import check_version_info
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError, RayError

    try:
        client = GcsClient(address=str(services.canonicalize_bootstrap_address(address)))
        metadata = get_cluster_metadata(client)
    except AuthenticationError as error:
        return {"problem": "refused", "detail": str(error)}
    except RayError as error:
        return {"problem": "silent", "detail": str(error)}
    except AttributeError:  # nothing recorded yet
        return {"problem": "silent", "detail": "its head is just starting"}
    if found and metadata.get("ray_init_cluster"):
        return {"address": f"{address} is another program's own", "problem": "none found"}
    try:
        check_version_info(metadata, "driver")
    except RuntimeError:
        return {
            "problem": "versions",
            "detail": f"Ray {metadata['ray_version']} on Python {metadata['python_version']}",
        }
    try:
        services.get_node_to_connect_for_driver(client, timeout_seconds=_NODE_S)
    except RuntimeError as error:
        return {"problem": "elsewhere", "detail": str(error)}
    return {}


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(_look(sys.argv[1])) + "\n")
