"""K instances side by side: what every family checks of its specs and seeds, and how initial params are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.seeds import generator
from rayl2o.tasks.base import TaskFamily, TaskSpec
from rayl2o.tasks.settings import from_settings, to_settings


def require_same(family: TaskFamily, specs: Sequence[TaskSpec]) -> None:
    """Checks that every spec is of this family with these settings; only the seeds may differ.

    Raises:
        UserError: If one is not.
        ValueError: If there are no specs.
    """
    if not specs:
        raise ValueError("a build needs at least one spec")
    own = to_settings(family)
    for spec in specs:
        if spec.family != family.family:
            mend = f"build specs of {family.family!r} only"
            raise UserError("specs of different families cannot be built together", value=spec.family, mend=mend)
        # The second comparison forgives tuples, ints for floats and defaults left out, and names what is plainly wrong.
        if spec.settings != own and from_settings(type(family), spec.settings, family.family) != family:
            mend = f"build specs with the settings {own} only"
            raise UserError(
                "specs of different settings cannot be built together", value=dict(spec.settings), mend=mend
            )


def require_one_each(seeds: Sequence[int], k: int) -> None:
    """Checks that there is one seed per instance.

    Raises:
        ValueError: If not.
    """
    if len(seeds) != k:
        raise ValueError(f"one seed per instance is needed: {k} instances, {len(seeds)} seeds")


def normal_rows(seeds: Sequence[int], size: int, std: float) -> Tensor:
    """N(0, std^2), float64 ``[K, size]``, row k from ``seeds[k]``: the same start whatever dtype it is then cast to."""
    rows = {s: torch.randn(size, generator=generator("init", s), dtype=torch.float64) for s in dict.fromkeys(seeds)}
    return torch.stack([rows[seed] for seed in seeds]).mul_(std)
