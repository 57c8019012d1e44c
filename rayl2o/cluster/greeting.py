"""What a process of the cluster says of itself before any work starts, and what must agree with the driver."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass
from typing import Any

import ray

from rayl2o.config import RunConfig, load_text
from rayl2o.errors import UserError
from rayl2o.folder import scope


@dataclass(frozen=True)
class Greeting:
    """Where a process is and what it runs.

    Attributes:
        pid, host, node: Process id, host name, Ray's id of the node.
        python: Version of Python.
        scope: What decides whether results are bit-identical (``folder.scope``).
    """

    pid: int
    host: str
    node: str
    python: str
    scope: dict[str, Any]


def greet() -> Greeting:
    """This process."""
    return Greeting(
        os.getpid(), socket.gethostname(), ray.get_runtime_context().get_node_id(), platform.python_version(), scope()
    )


def read(config_text: str, role: str) -> RunConfig:
    """The run's config as this process understands it.

    Raises:
        UserError: If it names a task or a rule that is not installed here, with the host.
    """
    try:
        return load_text(config_text, "the run's config")
    except UserError as error:
        raise UserError(
            f"a {role} on {socket.gethostname()} cannot read the config ({error})",
            value=ray.get_runtime_context().get_node_id()[:8],
            mend="install the same rayl2o and plugins on every node (runtime_env or image)",
        ) from None


def must_agree(greeting: Greeting, role: str, driver: dict[str, Any]) -> list[str]:
    """Checks a process against the driver's scope.

    Returns:
        Warnings: differences after which results are repeatable, but not bit-identical.

    Raises:
        UserError: Another version of rayl2o or torch, with which messages could be misread.
    """
    warnings = []
    for name, own in driver.items():
        found = greeting.scope.get(name)
        if found == own:
            continue
        if name in ("rayl2o", "torch"):
            raise UserError(
                f"the {role} on {greeting.host} runs {name} {found}, the driver {own}",
                value=str(found),
                mend=f"install {name} {own} on every node (runtime_env or image)",
            )
        warnings.append(f"not bit-identical: {name} is {found} on {greeting.host}, {own} at the driver")
    return warnings
