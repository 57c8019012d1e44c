"""A figure of a benchmark, and how ways of doing one thing are timed against each other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

REPEATS = 9


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured.
        value, unit: The figure (median of repeats); nan where it cannot be had here, and the unit says why.
        ratio: Against the rival named in ``against``, larger is better for us; None where there is no rival.
        against: The rival, measured in the same run, or a published figure, which the text says.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    against: str | None = None


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int | None = None) -> dict[str, float]:
    """Median seconds of each way; the ways take turns, so that a busy moment hits all of them. ``repeats``: None is REPEATS."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        ways[name]()
    for _ in range(REPEATS if repeats is None else repeats):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in seconds.items()}
