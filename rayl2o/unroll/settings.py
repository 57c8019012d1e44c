"""Settings of a roll-out, the same for every segment of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rayl2o.errors import UserError, unknown_name

CREDITS = ("first_order", "exact")
SAMPLINGS = ("all", "importance", "uniform", "stratified")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class UnrollConfig:
    """How a segment is made.

    Attributes:
        steps: U, inner steps per segment.
        credit: ``first_order`` (papers S and T: the rule's inputs are constants) or ``exact`` (paper R: they are not).
        sampling: Which coordinates are kept: ``all``, ``importance`` (80 % by credit norm, 20 % uniform), ``uniform``,
            ``stratified`` (by tensor). Teachers' trajectories are always sampled uniformly.
        coords_per_row: C, how many; ignored for ``all``.
        step_weights: w[1..U] of the meta-loss; empty means 1 everywhere.
        score_last_iterate: False sets w[U] = 0.
        loss_cap: A loss above it counts as divergence (task's unit).
        history_bytes: Limit on what the roll-out may remember of a segment's gradients.
        dtype: ``float32`` or ``float64`` of params, gradients and phi.
    """

    steps: int = 20
    credit: str = "first_order"
    sampling: str = "all"
    coords_per_row: int = 0
    step_weights: tuple[float, ...] = ()
    score_last_iterate: bool = True
    loss_cap: float = 1e4
    history_bytes: int = 256 * 2**20
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError("unroll.steps must be at least 1", value=self.steps, mend="20 is the papers' choice")
        for kind, name, known in (
            ("unroll.credit", self.credit, CREDITS),
            ("unroll.sampling", self.sampling, SAMPLINGS),
            ("unroll.dtype", self.dtype, tuple(DTYPES)),
        ):
            if name not in known:
                raise unknown_name(kind, name, known)
        if self.sampling != "all" and self.coords_per_row < 1:
            raise UserError(
                f"unroll.sampling={self.sampling} needs unroll.coords_per_row >= 1",
                value=self.coords_per_row,
                mend="set it to about a tenth of the task's coordinates, or sampling=all",
            )
        if self.step_weights and len(self.step_weights) != self.steps:
            raise UserError(
                "unroll.step_weights needs one weight per step",
                value=len(self.step_weights),
                mend=f"give {self.steps} numbers or none",
            )
        if not self.loss_cap > 0:
            raise UserError("unroll.loss_cap must be positive", value=self.loss_cap, mend="use 1e4")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The torch dtype named by ``dtype``."""
        return DTYPES[self.dtype]

    def weights(self) -> tuple[float, ...]:
        """w[1..U] with ``score_last_iterate`` applied."""
        weights = self.step_weights or (1.0,) * self.steps
        return weights if self.score_last_iterate else (*weights[:-1], 0.0)
