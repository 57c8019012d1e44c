"""Suites: named sets of tasks that are evaluated together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rayl2o.errors import unknown_name


@dataclass(frozen=True)
class Suite:
    """Tasks by their registered names, in the order of the report.

    Attributes:
        tasks: Names that :func:`rayl2o.tasks.registry.task` takes.
        trained_on: Those on which the rules of this package's presets are trained.
        summary: One line.
    """

    tasks: tuple[str, ...]
    trained_on: tuple[str, ...]
    summary: str


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "mlp-transfer": Suite(
            ("mlp-orig", "mlp-relu", "mlp-deeper"),
            ("mlp-orig",),
            "T's transfer test: another activation, another depth",
        ),
    }
)


def suite(name: str) -> Suite:
    """The suite of a name.

    Raises:
        UserError: If there is none.
    """
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    return SUITES[name]
