"""Bookkeeping of the slots: which trajectory each is on, what of it exists, and from where it can be made again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rayl2o.unroll.ticket import Ticket


@dataclass(frozen=True)
class Rolled:
    """One slot's roll-out of one round, by reference.

    Attributes:
        contribution, state: Object references of the packed contribution and of the packed state after it.
        ticket: Its trajectory.
        finished: Whether the trajectory is over.
        version: Version of phi that acted.
    """

    contribution: Any
    state: Any
    ticket: Ticket
    finished: bool
    version: int


@dataclass
class Slot:
    """One slot on its way through the rounds.

    A result can be lost with its node. It is then made again: from the newest checkpoint, or from the start of the trajectory if
    that came later, with the versions of phi that acted then. So the controller keeps the starts since the newest checkpoint and
    the versions since the oldest of these, and nothing has to be shipped twice in advance.

    Attributes:
        number: Which slot.
        round: The next round that it rolls out (from 1).
        state: Reference of its packed state before that round; None at a fresh start.
        over: Whether its trajectory ended with the round before.
        starts: Round -> ticket of the trajectory that began there, those that may still be needed.
        saved: The newest checkpoint's round, with the ticket and whether there is a state; None before the first.
        from_checkpoint: Whether ``state`` must be read from the newest checkpoint first.
    """

    number: int
    ticket: Ticket
    round: int = 1
    state: Any = None
    over: bool = False
    starts: dict[int, Ticket] = field(default_factory=dict)
    saved: tuple[int, Ticket, bool] | None = None
    from_checkpoint: bool = False

    @classmethod
    def at(cls, number: int, ticket: Ticket, done: int, has_state: bool, over: bool) -> Slot:
        """A slot after ``done`` rounds, as a checkpoint (or the very beginning) has it."""
        slot = cls(number, ticket, done + 1, over=over, from_checkpoint=has_state and not over)
        if has_state:
            slot.saved = (done, ticket, not over)
        else:
            slot.starts[done + 1] = ticket
        return slot

    def begin(self, ticket: Ticket) -> None:
        """A new trajectory from the next round on."""
        self.ticket, self.state, self.over, self.from_checkpoint = ticket, None, False, False
        self.starts[self.round] = ticket

    def advance(self, rolled: Rolled) -> None:
        """Takes in the roll-out of its round."""
        self.state, self.over = rolled.state, rolled.finished
        self.round += 1
        self.from_checkpoint = False

    def keep(self, done: int, ticket: Ticket, finished: bool) -> None:
        """A checkpoint of round ``done`` was written: what lies before it is not needed any more."""
        self.saved = (done, ticket, not finished)
        self.starts = {start: own for start, own in self.starts.items() if start > done}

    def rewind(self, needed: int) -> None:
        """Goes back to the latest place from which round ``needed`` can be made again."""
        start = max((start for start in self.starts if start <= needed), default=0)
        if start:
            self.round, self.ticket, self.state = start, self.starts[start], None
            self.over = self.from_checkpoint = False
            return
        assert self.saved is not None, "a slot without a checkpoint has its first start"
        done, self.ticket, live = self.saved
        self.round, self.state, self.over, self.from_checkpoint = done + 1, None, not live, live

    @property
    def oldest(self) -> int:
        """The earliest round that :meth:`rewind` may go back to."""
        places = [*self.starts, *([] if self.saved is None else [self.saved[0] + 1])]
        return min(places)
