"""Which steps of which coordinates become rows: drawn evenly over cells, or windows as S's code cuts them."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.seeds import generator
from rayl2o.symbolic.trajectories import Trajectories

EARLY, LATE = 0, 1
PERIODS = {EARLY: (0.02, 0.2), LATE: (0.5, 1.0)}
"""Shares of the horizon from which early and late rows are drawn."""
STRATA, WINDOWS = "strata", "windows"
SAMPLINGS = (STRATA, WINDOWS)
WINDOW = 20
"""T of S: gradients in a window, the row standing at its newest."""
LIVE_AT = 14
"""S's code drops a window whose gradient at this place, counted from its newest, is exactly 0."""


def draw(trajectories: Trajectories, rows: int, seed: int, sampling: str = STRATA) -> tuple[Tensor, Tensor, Tensor]:
    """Steps, columns and periods of the drawn rows, each int64 ``[R]``.

    ``strata``: about ``rows`` in all, the same number from every cell of (run, tensor, period) that has them, without
    replacement. ``windows`` (S's code): from each column ``U // 20 - 2`` windows of 20 steps that do not overlap, with random
    gaps; a window is dropped if its gradient at :data:`LIVE_AT` is exactly 0; at most ``rows``, at random. Their period is
    early up to :data:`PERIODS`' end of early, else late.

    Raises:
        UserError: On an unknown sampling, or if there is no row.
    """
    if sampling not in SAMPLINGS:
        raise unknown_name("sampling of rows", sampling, SAMPLINGS)
    draws = generator(seed, "symbolic", "rows")
    drawn = (_strata if sampling == STRATA else _windows)(trajectories, rows, draws)
    if not len(drawn[0]):
        raise UserError(
            "no step of any run can be used",
            value=trajectories.steps,
            mend="lengthen the runs, or check that the rule is sound",
        )
    return drawn


def _strata(trajectories: Trajectories, rows: int, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    cells = trajectories.cells()
    share = -(-rows // (len(cells) * len(PERIODS)))
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for run, tensor in cells:
        columns = ((trajectories.run == run) & (trajectories.tensor == tensor)).nonzero()[:, 0]
        for period, (first, last) in PERIODS.items():
            time = torch.arange(int(first * trajectories.steps), max(1, int(last * trajectories.steps)))[:, None]
            places = (time < trajectories.valid[columns]).nonzero()
            chosen = places[torch.randperm(len(places), generator=draws)[:share]]
            found.append((time[chosen[:, 0], 0], columns[chosen[:, 1]], torch.full((len(chosen),), period)))
    steps, columns, periods = (torch.cat(parts) for parts in zip(*found, strict=True))
    return steps, columns, periods


def _windows(trajectories: Trajectories, rows: int, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    width = len(trajectories.valid)
    count = trajectories.steps // WINDOW - 2
    if count < 1:
        raise UserError(
            f"windows of {WINDOW} steps need runs of {3 * WINDOW} steps",
            value=trajectories.steps,
            mend="lengthen the runs, or draw rows from strata",
        )
    # The steps left over are dealt out as gaps before the windows; those of one column never overlap.
    spare = trajectories.steps - count * WINDOW
    gaps = torch.sort(torch.randint(spare + 1, (count, width), generator=draws), dim=0).values
    newest = gaps + WINDOW * torch.arange(1, count + 1)[:, None] - 1
    columns = torch.arange(width).expand(count, -1)
    usable = (newest < trajectories.valid) & (trajectories.grad[newest - LIVE_AT, columns] != 0)
    steps, columns = newest[usable], columns[usable]
    kept = torch.sort(torch.randperm(len(steps), generator=draws)[:rows]).values
    steps, columns = steps[kept], columns[kept]
    late = steps >= int(PERIODS[EARLY][1] * trajectories.steps)
    return steps, columns, torch.where(late, LATE, EARLY)
