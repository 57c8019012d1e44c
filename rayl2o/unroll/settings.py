"""Settings of a roll-out, the same for every segment of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.compiled import BACKENDS

FIRST_ORDER, CURVATURE, EXACT = "first_order", "curvature", "exact"
CREDITS = (FIRST_ORDER, CURVATURE, EXACT)
SUM, FINAL, LOG = "sum", "final", "log"
META_LOSSES = (SUM, "mean", FINAL, LOG, "ratio")
SAME, FRESH, POOL = "same", "fresh", "pool"
META_BATCHES = (SAME, FRESH, POOL)
SAMPLINGS = ("all", "importance", "uniform", "stratified")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class UnrollConfig:
    """How a segment is made.

    Attributes:
        steps: U, inner steps per segment.
        credit: ``first_order`` (papers S and T: the rule's inputs are constants), ``exact`` (paper R: they are not) or
            ``curvature`` (as exact, without the path of a gradient through the rule's state).
        sampling: Which coordinates are kept: ``all``, ``importance`` (80 % by credit norm, 20 % uniform), ``uniform``,
            ``stratified`` (by tensor). Teachers' trajectories are always sampled uniformly.
        coords_per_row: C, how many; ignored for ``all``.
        step_weights: w[1..U] of the meta-loss; empty means 1 everywhere.
        score_last_iterate: False sets w[U] = 0.
        meta_loss: ``sum``, ``mean``, ``final``, ``log`` or ``ratio``; :func:`rayl2o.unroll.meta_loss.terms` has the formulas.
        meta_batch: On which minibatch the meta-loss is taken at params[t]: the ``same`` that the rule's gradient is of, a
            ``fresh`` one, or the mean over ``pool_batches`` that are drawn once a window (L2O-Scale: 10,000 examples). All but
            ``same`` cost evaluations.
        pool_batches: Of ``pool``.
        credit_horizon: Inner steps beyond the segment whose losses its updates are credited with; a multiple of ``steps``, first
            order only. The segment reaches the learner when they are done.
        discount: Factor on a loss for each step that it lies after the update it credits; first order only.
        credit_delay: Inner steps that a segment waits for without looking ahead: the control for ``credit_horizon``.
        loss_cap: A loss above it counts as divergence (task's unit).
        history_bytes: Limit on what the roll-out may remember of a segment's gradients.
        state_bytes: Above it, exact credit keeps the states of rules at some steps only and makes the others again. A speed
            setting: the numbers are the same.
        graph_bytes: ``bptt`` refuses a window whose graph would be larger.
        dtype: ``float32`` or ``float64`` of params, gradients and phi.
        device: ``cpu``, or a GPU such as ``cuda`` for all of a training (in one process only).
        compile: ``inductor`` compiles the student's update in roll-outs: faster on few coordinates, other last bits. Empty: off.
    """

    steps: int = 20
    credit: str = "first_order"
    sampling: str = "all"
    coords_per_row: int = 0
    step_weights: tuple[float, ...] = ()
    score_last_iterate: bool = True
    meta_loss: str = SUM
    meta_batch: str = SAME
    pool_batches: int = 8
    credit_horizon: int = 0
    discount: float = 1.0
    credit_delay: int = 0
    loss_cap: float = 1e4
    history_bytes: int = 256 * 2**20
    state_bytes: int = 256 * 2**20
    graph_bytes: int = 4 * 2**30
    dtype: str = "float32"
    device: str = "cpu"
    compile: str = ""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError("unroll.steps must be at least 1", value=self.steps, mend="20 is the papers' choice")
        for kind, name, known in (
            ("unroll.credit", self.credit, CREDITS),
            ("unroll.sampling", self.sampling, SAMPLINGS),
            ("unroll.meta_loss", self.meta_loss, META_LOSSES),
            ("unroll.meta_batch", self.meta_batch, META_BATCHES),
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
        if self.meta_loss == FINAL and not self.score_last_iterate:
            raise UserError(
                "unroll.meta_loss=final scores the last iterate alone",
                value="score_last_iterate=false",
                mend="leave score_last_iterate at true",
            )
        if self.pool_batches < 1:
            raise UserError("unroll.pool_batches must be at least 1", value=self.pool_batches, mend="use 8 or more")
        if self.device != "cpu" and not re.fullmatch(r"cuda(:\d)?", self.device):
            raise UserError("unroll.device must be cpu or cuda", value=self.device, mend="e.g. cuda, or cuda:1")
        if self.compile and self.compile not in BACKENDS:
            raise unknown_name("unroll.compile", self.compile, BACKENDS)
        self._check_waiting()

    def _check_waiting(self) -> None:
        for name in ("credit_horizon", "credit_delay"):
            value = getattr(self, name)
            if value < 0 or value % self.steps:
                raise UserError(
                    f"unroll.{name} must be a multiple of unroll.steps={self.steps}",
                    value=value,
                    mend=f"e.g. {4 * self.steps}, or 0 for none",
                )
        if not 0.0 < self.discount <= 1.0:
            raise UserError("unroll.discount must lie in (0, 1]", value=self.discount, mend="e.g. 0.95; 1 is none")
        if self.credit != FIRST_ORDER and (self.credit_horizon or self.discount != 1.0):
            raise UserError(
                "unroll.credit_horizon and unroll.discount are for first-order credit",
                value=f"credit={self.credit}",
                mend="use credit=first_order, or longer windows (unroll.steps)",
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The torch dtype named by ``dtype``."""
        return DTYPES[self.dtype]

    @property
    def waiting(self) -> int:
        """Windows that a segment waits for before it reaches the learner."""
        return max(self.credit_horizon, self.credit_delay) // self.steps

    def weights(self) -> tuple[float, ...]:
        """w[1..U] with ``score_last_iterate`` applied."""
        weights = self.step_weights or (1.0,) * self.steps
        return weights if self.score_last_iterate else (*weights[:-1], 0.0)
