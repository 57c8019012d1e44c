"""A law of a task: its name, what it says, how it is tried, and the mend where it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rayl2o.tasks.laws.case import Case


@dataclass(frozen=True)
class Law:
    """A law and its trial.

    Attributes:
        name: As a refusal names it.
        statement: What holds, with the tolerance, in one sentence.
        mend: What to do where it does not.
        trial: Says how a family breaks it, with the offending numbers; None where it does not.
        evaluates: Whether the trial builds instances and evaluates them; else it draws specs only, at no cost.
    """

    name: str
    statement: str
    mend: str
    trial: Callable[[Case], str | None]
    evaluates: bool = True


@dataclass(frozen=True)
class Breach:
    """A law that a family breaks.

    Attributes:
        law: Which.
        found: How, with the offending numbers.
    """

    law: Law
    found: str

    def __str__(self) -> str:
        return f"law {self.law.name!r}: {self.found}; {self.law.mend}"
