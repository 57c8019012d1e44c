"""A task by name: a family with some of its settings fixed, others with defaults of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAPERS = ("R", "T", "S")
"""R: Reverse engineering learned optimizers. T: Training stronger baselines. S: Symbolic learning to optimize."""


@dataclass(frozen=True)
class NamedTask:
    """A family with some of its settings fixed; the others stay open.

    Attributes:
        family: Name of the family.
        fixed: The settings that make the task what it is.
        summary: One line.
        defaults: Open settings whose default is not the family's.
        paper: One of :data:`PAPERS`; empty for a task of our own.
        twin_of: The task of true size that this one is a small twin of, for a machine of two cores.
    """

    family: str
    fixed: Mapping[str, Any]
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    twin_of: str = ""

    def __post_init__(self) -> None:
        if self.paper not in ("", *PAPERS):
            raise ValueError(f"paper must be one of {PAPERS} or empty, got {self.paper!r}")
        if set(self.fixed) & set(self.defaults):
            raise ValueError(
                f"a setting is fixed or has a default, got both for {set(self.fixed) & set(self.defaults)}"
            )
