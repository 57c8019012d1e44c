"""All sets of moving averages that a byte budget allows, each fitted to a table by least squares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rayl2o.rules.operands import Ema, Operand, Signal
from rayl2o.symbolic.compress import FLOAT_BYTES, Choice, state_bytes
from rayl2o.symbolic.linear import least_squares
from rayl2o.symbolic.table import Floats, Table

MOST_SETS = 5000
"""Sets of one size that are all tried; beyond it averages are added one at a time."""


def from_averages(train: Table, max_bytes: int) -> Iterator[Choice]:
    """Sets of averages within the budget, each with or without the current values that then cost nothing."""
    x, y = train.x / train.x_scale, train.y / train.y_scale
    gram, moment, total = x.T @ x, x.T @ y, float(y @ y)
    place = {operand: i for i, operand in enumerate(train.operands)}
    unit = train.y_scale / train.x_scale
    for operands in _sets(train.operands, max_bytes, gram, moment, place):
        chosen = [place[operand] for operand in operands]
        weights = least_squares(gram[np.ix_(chosen, chosen)], moment[chosen])
        error = 1.0 - float(moment[chosen] @ weights) / total
        yield Choice({o: float(w * unit[place[o]]) for o, w in zip(operands, weights, strict=True)}, error)


def _sets(
    operands: Sequence[Operand], max_bytes: int, gram: Floats, moment: Floats, place: Mapping[Operand, int]
) -> Iterator[tuple[Operand, ...]]:
    signals = sorted({operand.signal for operand in operands})
    for count in range(1, len(signals) + 1):
        for names in itertools.combinations(signals, count):
            now = tuple(o for o in operands if isinstance(o, Signal) and o.signal in names)
            averages = [o for o in operands if isinstance(o, Ema) and o.signal in names]
            spare = (max_bytes - state_bytes(now)) // FLOAT_BYTES
            for size in range(min(spare, len(averages)) + 1):
                if math.comb(len(averages), size) <= MOST_SETS:
                    chosen = list(itertools.combinations(averages, size))
                else:
                    chosen = [_greedy(now, averages, size, gram, moment, place)]
                yield from (operands for extra in chosen for operands in _beside(now, extra) if operands)


def _beside(now: Sequence[Signal], extra: tuple[Ema, ...]) -> Iterator[tuple[Operand, ...]]:
    """The averages with the current values; those of signals that are averaged may be missing."""
    averaged = {operand.signal for operand in extra}
    fixed = tuple(signal for signal in now if signal.name not in averaged)
    free = [signal for signal in now if signal.name in averaged]
    for count in range(len(free) + 1):
        for some in itertools.combinations(free, count):
            yield (*fixed, *some, *extra)


def _greedy(
    now: Sequence[Operand],
    averages: Sequence[Ema],
    size: int,
    gram: Floats,
    moment: Floats,
    place: Mapping[Operand, int],
) -> tuple[Ema, ...]:
    chosen: list[Ema] = []
    for _ in range(size):

        def explained(extra: Ema) -> float:
            index = [place[o] for o in (*now, *chosen, extra)]
            return float(moment[index] @ least_squares(gram[np.ix_(index, index)], moment[index]))

        chosen.append(max((o for o in averages if o not in chosen), key=explained))
    return tuple(chosen)
