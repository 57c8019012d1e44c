"""Each instance on examples of its own: subsets of one data set, as row numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.seeds import generator


@dataclass(frozen=True, eq=False)
class Subsets:
    """The examples of each of K instances. Row numbers, so that the data set itself is held once.

    Attributes:
        seeds: Of the K instances' subsets; instances of equal seeds have equal ones.
        rows: int64 ``[size]`` by seed, without repetition.
    """

    seeds: tuple[int, ...]
    rows: Mapping[int, Tensor]


def draw_subsets(seeds: Sequence[int], examples: int, size: int, setting: str) -> Subsets:
    """``size`` of 0..examples-1 for each seed, drawn without replacement.

    Args:
        seeds: One per instance, of its spec.
        examples: N, rows of the data set.
        size: Of a subset.
        setting: Whose value ``size`` is, for the message.

    Raises:
        UserError: If there are fewer examples than that.
    """
    if size > examples:
        raise UserError(
            f"setting {setting} is out of range", value=size, mend=f"use 1..{examples}, or 0 for all of them"
        )
    rows = {seed: torch.randperm(examples, generator=generator("subset", seed))[:size].clone() for seed in set(seeds)}
    return Subsets(tuple(seeds), rows)
