"""How old the weights were with which segments were made: quantiles of a histogram of versions. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Staleness:
    """Quantiles in versions: at least half (99 %, all) of the segments were at most so stale."""

    p50: int
    p99: int
    max: int

    def to_json(self) -> dict[str, int]:
        """As in the results of ``rayl2o train --json``."""
        return {"p50": self.p50, "p99": self.p99, "max": self.max}


def quantiles(counts: Mapping[int, int]) -> Staleness | None:
    """Quantiles (nearest rank) of segments counted by staleness; None if none was counted."""
    total = sum(counts.values())
    if total <= 0:
        return None
    return Staleness(_rank(counts, -(-total // 2)), _rank(counts, -(-total * 99 // 100)), _rank(counts, total))


def _rank(counts: Mapping[int, int], rank: int) -> int:
    """The ``rank``-th smallest (from 1) of all that were counted."""
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= rank:
            return value
    raise ValueError(f"there are only {seen}, not {rank}")
