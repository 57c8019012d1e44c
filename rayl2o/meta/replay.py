"""Segments that are learned from again: what is kept, what is drawn, what is forgotten. Pure functions of frozen data.

Staleness is counted in versions: the rounds completed when a segment is drawn, less the version of phi that made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from rayl2o.errors import UserError
from rayl2o.seeds import generator
from rayl2o.trajectory.validate import check_values
from rayl2o.unroll.segment import Segment

STALE, USED_UP, FULL, UNSOUND = "stale", "used up", "full", "unsound"


@dataclass(frozen=True)
class ReplayConfig:
    """Learning from segments of earlier rounds. Off by default: whether it helps the final optimizer is not established.

    Attributes:
        uses: How often a kept segment may be learned from again; 0 turns replay off.
        capacity: Segments kept at most; the oldest go first.
        updates: Replay updates per round, after the round's own.
        batch: Segments per replay update; 0 means as many as slots.
        max_staleness: A segment made with a version older than this many is not learned from.
    """

    uses: int = 0
    capacity: int = 64
    updates: int = 1
    batch: int = 0
    max_staleness: int = 20

    def __post_init__(self) -> None:
        for name in ("uses", "batch"):
            if getattr(self, name) < 0:
                raise UserError(f"replay.{name} must be at least 0", value=getattr(self, name), mend="0 is the default")
        for name in ("capacity", "updates", "max_staleness"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"replay.{name} must be at least 1",
                    value=getattr(self, name),
                    mend="replay.uses=0 turns replay off",
                )


@dataclass(frozen=True)
class Kept:
    """A segment that may be learned from again.

    Attributes:
        segment: It.
        uses: How often it still may.
        round: The round that brought it (from 1).
    """

    segment: Segment
    uses: int
    round: int

    @property
    def key(self) -> tuple[int, int, int, int]:
        """(round, slot, ordinal, segment): the order in which segments are kept."""
        return (self.round, *self.segment.key)

    def staleness(self, round: int) -> int:
        """In versions, after ``round`` rounds."""
        return round - self.segment.source.policy_version


@dataclass(frozen=True)
class ReplayState:
    """What is kept, in the order of :attr:`Kept.key`, and why the rest is not.

    Attributes:
        entries: See :class:`Kept`.
        drops: Segments let go so far by reason: ``stale``, ``used up``, ``full``, ``unsound`` (numbers that no file may hold).
    """

    entries: tuple[Kept, ...] = ()
    drops: dict[str, int] = field(default_factory=dict)


def take(config: ReplayConfig, state: ReplayState, segments: Sequence[Segment], round: int) -> ReplayState:
    """Keeps the segments of a round, whatever order they came in; the oldest make room."""
    sound = [segment for segment in segments if _is_sound(segment)]
    new = [Kept(segment, config.uses, round) for segment in sorted(sound, key=lambda segment: segment.key)]
    entries = (*state.entries, *new)
    state = _dropped(state, UNSOUND, len(segments) - len(sound))
    state = _dropped(state, FULL, max(len(entries) - config.capacity, 0))
    return replace(state, entries=entries[-config.capacity :])


def forget(config: ReplayConfig, state: ReplayState, round: int) -> ReplayState:
    """Lets go of what is too stale after ``round`` rounds."""
    fresh = tuple(kept for kept in state.entries if kept.staleness(round) <= config.max_staleness)
    return replace(_dropped(state, STALE, len(state.entries) - len(fresh)), entries=fresh)


def sample(
    config: ReplayConfig, state: ReplayState, round: int, count: int, draws: torch.Generator
) -> tuple[list[Segment], ReplayState]:
    """Draws up to ``count`` different segments, each with a weight of 1 / (1 + staleness), and counts their use.

    Only what is fresh enough after ``round`` rounds is drawn. The segments come in the order in which they are kept.
    """
    state = forget(config, state, round)
    count = min(count, len(state.entries))
    if not count:
        return [], state
    freshness = [1.0 / (1 + max(kept.staleness(round), 0)) for kept in state.entries]
    chosen = torch.multinomial(torch.tensor(freshness, dtype=torch.float64), count, generator=draws).tolist()
    drawn = set(chosen)
    used = [replace(kept, uses=kept.uses - (i in drawn)) for i, kept in enumerate(state.entries)]
    left = tuple(kept for kept in used if kept.uses > 0)
    segments = [state.entries[i].segment for i in sorted(chosen)]
    return segments, replace(_dropped(state, USED_UP, len(used) - len(left)), entries=left)


def draws(seed: int, round: int, update: int) -> torch.Generator:
    """What the ``update``-th replay update (from 0) of a round draws with."""
    return generator(seed, "replay", round, update)


def _is_sound(segment: Segment) -> bool:
    try:
        check_values(segment, "replay")
    except UserError:
        return False
    return True


def _dropped(state: ReplayState, reason: str, count: int) -> ReplayState:
    if not count:
        return state
    return replace(state, drops={**state.drops, reason: state.drops.get(reason, 0) + count})
