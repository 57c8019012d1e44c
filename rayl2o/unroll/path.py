"""The states of a rule along a window, kept at some steps and made again between them: memory for a long window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import overload

from rayl2o.rules.base import State

Advance = Callable[[int, State], State]
"""``advance(k, state before step k) -> state before step k + 1``."""


def stride(steps: int, state_bytes: int, limit: int) -> int:
    """Steps between kept states: 1 if all U fit the limit, else about sqrt(U), where kept and made states are fewest together.

    Args:
        steps: U.
        state_bytes: Bytes of one state, of all rules that listen.
        limit: Bytes.
    """
    return 1 if steps * state_bytes <= limit else math.isqrt(steps - 1) + 1


def nbytes(states: Sequence[State]) -> int:
    """Bytes of some states."""
    return sum(value.numel() * value.element_size() for state in states for value in state.values())


class Path(Sequence[State]):
    """The state before each of U steps, to the bit as it was in the roll-out.

    States between kept ones are made a block at a time, and one block is held: read it backwards.

    Args:
        kept: States before steps 0, stride, 2 stride ...
        stride: Steps between them.
        length: U.
        advance: Makes the next state.
    """

    def __init__(self, kept: Sequence[State], stride: int, length: int, advance: Advance) -> None:
        self._kept, self._stride, self._length, self._advance = kept, stride, length, advance
        self._block: tuple[int, list[State]] = (-1, [])

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> State: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[State]: ...

    def __getitem__(self, index: int | slice) -> State | Sequence[State]:
        """The state before step ``index``."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        if not 0 <= index < self._length:
            raise IndexError(f"step {index} is outside the window of {self._length} steps")
        block, inside = divmod(index, self._stride)
        if self._block[0] != block:
            self._block = (block, self._made(block))
        return self._block[1][inside]

    def _made(self, block: int) -> list[State]:
        states = [self._kept[block]]
        begin = block * self._stride
        for k in range(begin, min(begin + self._stride, self._length) - 1):
            states.append(self._advance(k, states[-1]))
        return states
