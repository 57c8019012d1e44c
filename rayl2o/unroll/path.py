"""The states of a rule along a window, kept at some steps and made again between them: memory for a long window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import overload

from rayl2o.rules.base import State

Advance = Callable[[int, State], State]
"""``advance(k, state before step k) -> state before step k + 1``."""


def kept_steps(steps: int, state_bytes: int, limit: int) -> tuple[int, ...]:
    """The steps before which states are kept, 0 first: all U if they fit the limit, else about sqrt(2 U).

    A sweep from the end frees what it has passed, so the stretches between kept steps grow by one towards the start: at any time
    kept and made states are about sqrt(2 U) together, where equal stretches would need 2 sqrt(U).

    Args:
        steps: U.
        state_bytes: Bytes of one state, of all rules that listen.
        limit: Bytes.
    """
    if steps * state_bytes <= limit:
        return tuple(range(steps))
    kept, end, stretch = [], steps, 1
    while end > 0:
        end = max(end - stretch, 0)
        kept.append(end)
        stretch += 1
    return tuple(reversed(kept))


def nbytes(states: Sequence[State]) -> int:
    """Bytes of some states."""
    return sum(value.numel() * value.element_size() for state in states for value in state.values())


class Path(Sequence[State]):
    """The state before each of U steps, to the bit as it was in the roll-out; to be read from the last to the first.

    States between kept ones are made a stretch at a time. What lies behind the stretch that was read last is dropped.

    Args:
        kept: States before the kept steps.
        steps: The kept steps, from :func:`kept_steps`.
        length: U.
        advance: Makes the next state.
    """

    def __init__(self, kept: Sequence[State], steps: Sequence[int], length: int, advance: Advance) -> None:
        self._kept, self._steps, self._length, self._advance = list(kept), steps, length, advance
        self._stretch: list[State] = []
        self._begin = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> State: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[State]: ...

    def __getitem__(self, index: int | slice) -> State | Sequence[State]:
        """The state before step ``index``. Raises IndexError if the window has no such step, or its state has been dropped."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if not 0 <= index < self._begin + len(self._stretch):
            raise IndexError(f"step {index} is outside the window of {self._length} steps, or behind what was read")
        if index < self._begin:
            self._go_back_to(index)
        return self._stretch[index - self._begin]

    def _go_back_to(self, index: int) -> None:
        place, end = bisect_right(self._steps, index) - 1, self._begin
        if place + 1 < len(self._steps):
            end = min(end, self._steps[place + 1])
        del self._kept[place + 1 :]
        self._begin, self._stretch = self._steps[place], [self._kept[place]]
        for k in range(self._begin, end - 1):
            self._stretch.append(self._advance(k, self._stretch[-1]))
