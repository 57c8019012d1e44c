"""Minibatches of K instances as row numbers of a data set, arranged so that a shared one is read and multiplied once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.seeds import generator
from rayl2o.tasks.subset import Subsets

# Inputs gathered at a time: they are read three times, so they should stay in a core's cache.
CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Part:
    """Some of the K instances, to be computed together.

    Attributes:
        members: Which instances, m of them: a slice wherever they are evenly spaced (no copies), else int64 ``[m]``.
        rows: int64 ``[m, B]``, a minibatch for each member, or ``[1, B]``, one shared by all of them.
    """

    members: slice | Tensor
    rows: Tensor


@dataclass(frozen=True)
class Minibatch:
    """A minibatch for each of K instances. Holds row numbers, not inputs: U of them wait for a reverse sweep at little cost.

    Attributes:
        k: Number of instances.
        parts: They cover the instances, each once.
    """

    k: int
    parts: tuple[Part, ...]

    def rows(self) -> Tensor:
        """int64 ``[K, B]``: the minibatch of each instance."""
        first = self.parts[0].rows
        if len(first) == self.k:
            return first
        rows = first.new_empty(self.k, first.shape[1])
        for part in self.parts:
            rows[part.members] = part.rows
        return rows


def draw_minibatch(
    seeds: Sequence[int],
    examples: int,
    size: int,
    example_bytes: int,
    device: torch.device | str = "cpu",
    subsets: Subsets | None = None,
) -> Minibatch:
    """For instance k, ``size`` row numbers, i.i.d. with replacement, from ``seeds[k]`` alone.

    Args:
        seeds: One per instance; equal ones share a minibatch, unless their subsets differ.
        examples: How many there are to draw from: N of the data set, or as many as a subset has.
        size: B.
        example_bytes: Bytes of one example's inputs.
        device: Of the row numbers.
        subsets: The examples of each instance; None for 0..examples-1.
    """
    owners = (0,) * len(seeds) if subsets is None else subsets.seeds
    keys = list(zip(seeds, owners, strict=True))
    sharers: dict[tuple[int, int], list[int]] = {}
    for instance, key in enumerate(keys):
        sharers.setdefault(key, []).append(instance)
    drawn = {key: torch.randint(examples, (1, size), generator=generator("batch", key[0])) for key in sharers}
    if subsets is not None:
        drawn = {key: subsets.rows[key[1]][places] for key, places in drawn.items()}
    if 2 * len(sharers) <= len(seeds):
        parts = [Part(_selector(members), drawn[key].to(device)) for key, members in sharers.items()]
    else:
        rows = torch.cat([drawn[key] for key in keys]).to(device)
        chunk = max(1, CHUNK_BYTES // (size * example_bytes))
        starts = range(0, len(seeds), chunk)
        parts = [Part(slice(start, start + chunk), rows[start : start + chunk]) for start in starts]
    return Minibatch(len(seeds), tuple(parts))


def _selector(members: list[int]) -> slice | Tensor:
    """A slice if the members are evenly spaced (views, not copies), else their numbers."""
    step = members[1] - members[0] if len(members) > 1 else 1
    even = range(members[0], members[-1] + 1, step)
    return slice(even.start, even.stop, step) if list(even) == members else torch.tensor(members)
