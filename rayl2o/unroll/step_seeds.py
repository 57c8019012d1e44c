"""The minibatch seeds of an inner step, made when one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from rayl2o.seeds import derive_seed
from rayl2o.unroll.ticket import Ticket


def batch_seeds(ticket: Ticket, step: int) -> list[int]:
    """One minibatch seed per instance at an inner step."""
    return [
        derive_seed(ticket.run_seed, "batch", ticket.slot, ticket.ordinal, k, step) for k in range(len(ticket.specs))
    ]


@dataclass(frozen=True)
class StepSeeds(Sequence[int]):
    """:func:`batch_seeds`, each repeated for all copies of its instance.

    A task without data only counts them, and hashing thousands of them would cost more than its step.

    Attributes:
        ticket, step: As of :func:`batch_seeds`.
        copies: Of each instance, side by side.
    """

    ticket: Ticket
    step: int
    copies: int = 1

    def __len__(self) -> int:
        return len(self.ticket.specs) * self.copies

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...

    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        """The seed of a copy, or those of several."""
        return self._all[index]

    @cached_property
    def _all(self) -> list[int]:
        return [seed for seed in batch_seeds(self.ticket, self.step) for _ in range(self.copies)]
