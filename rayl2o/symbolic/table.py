"""From trajectories to a regression table: operands cut from full histories, rows drawn evenly over tensors and periods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.operands import Ema, Lag, Operand, OperandBank, Signal
from rayl2o.seeds import generator
from rayl2o.symbolic.trajectories import Trajectories

BETAS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
LAGS = 20
"""T of S: lags 0..19."""
EARLY, LATE = 0, 1
PERIODS = {EARLY: (0.02, 0.2), LATE: (0.5, 1.0)}
"""Shares of the horizon from which early and late rows are drawn."""
MODES = ("ema", "paper")

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """R rows of P operands and the rule's answer, in the rule's own units, float64.

    Attributes:
        operands: What the columns are.
        x: ``[R, P]``.
        y: ``[R]``, the displacement.
        x_scale: ``[P]``, one standard deviation per *signal*, shared by its lags and averages.
        y_scale: Standard deviation of y. Engines see ``x / x_scale`` and ``y / y_scale``; what they find is folded back.
        y_limit: max |y| over the whole trajectories that the rows are drawn from: a distilled rule is clamped there.
        period: ``[R]``, :data:`EARLY` or :data:`LATE`.
        tensor: ``[R]``, index into ``tensors``.
        run: ``[R]``, which run.
        tensors: Names of the tensors.
    """

    operands: tuple[Operand, ...]
    x: Floats
    y: Floats
    x_scale: Floats
    y_scale: float
    y_limit: float
    period: Integers
    tensor: Integers
    run: Integers
    tensors: tuple[str, ...]

    def columns(self) -> dict[Operand, Tensor]:
        """The columns as an expression takes them."""
        return {operand: torch.from_numpy(self.x[:, i]) for i, operand in enumerate(self.operands)}


def operands_of(kind: str, mode: str = "ema") -> tuple[Operand, ...]:
    """The operands in which a rule of this kind is distilled.

    Args:
        kind: ``rnnprop`` is distilled in its own features m~ and g~; every other rule in g, sign-log g and g / rms.
        mode: ``ema`` (current value and averages at :data:`BETAS`) or ``paper`` (T = 20 lags, as S).

    Raises:
        UserError: On an unknown mode.
    """
    signals = ("m_tilde", "g_tilde") if kind == "rnnprop" else ("g", "q", "g_tilde")
    now: tuple[Operand, ...] = tuple(Signal(name) for name in signals)
    if mode == "ema":
        return now + tuple(Ema(name, beta) for name in signals for beta in BETAS)
    if mode == "paper":
        return now + tuple(Lag(name, lag) for name in signals for lag in range(1, LAGS))
    raise unknown_name("operand mode", mode, MODES)


def make_table(trajectories: Trajectories, operands: Sequence[Operand], rows: int = 5000, seed: int = 0) -> Table:
    """Draws about ``rows`` rows, evenly over runs, tensors and periods, and cuts the operands from the full histories.

    Raises:
        UserError: If no cell of (run, tensor, period) has a row, or the rule's answer is constant.
    """
    bank = OperandBank(tuple(operands))
    values = bank.run(trajectories.grad.double())
    steps, columns, period = _draw(trajectories, rows, seed)
    x = torch.stack([values[operand][steps, columns] for operand in bank.operands], dim=1).numpy()
    y = trajectories.delta.double()[steps, columns].numpy()
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or y.std() == 0.0:
        raise UserError(
            "the rule's answer does not vary, or is not finite", value=float(y[0]), mend="check the rule's weights"
        )
    signals = OperandBank(tuple(Signal(name) for name in sorted({o.signal for o in operands})))
    now = signals.run(trajectories.grad.double())
    spread = {signal.signal: float(value[steps, columns].std(correction=0)) for signal, value in now.items()}
    return Table(
        operands=bank.operands,
        x=x,
        y=y,
        x_scale=np.array([spread[operand.signal] or 1.0 for operand in bank.operands]),
        y_scale=float(y.std()),
        y_limit=float(trajectories.delta.abs().max()),
        period=period.numpy(),
        tensor=trajectories.tensor[columns].numpy(),
        run=trajectories.run[columns].numpy(),
        tensors=trajectories.tensors,
    )


def _draw(trajectories: Trajectories, rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Steps, columns and periods of the drawn rows, each int64 ``[R]``."""
    draws = generator(seed, "symbolic", "rows")
    cells = trajectories.cells()
    share = -(-rows // (len(cells) * len(PERIODS)))
    steps, columns, periods = [], [], []
    time = torch.arange(trajectories.steps)[:, None]
    for run, tensor in cells:
        inside = (trajectories.run == run) & (trajectories.tensor == tensor)
        for period, (first, last) in PERIODS.items():
            window = (time >= int(first * trajectories.steps)) & (time < max(1, int(last * trajectories.steps)))
            places = (window & inside & (time < trajectories.valid)).nonzero()
            chosen = places[torch.randperm(len(places), generator=draws)[:share]]
            steps.append(chosen[:, 0])
            columns.append(chosen[:, 1])
            periods.append(torch.full((len(chosen),), period))
    if not sum(len(part) for part in steps):
        raise UserError(
            "no step of any run can be used",
            value=trajectories.steps,
            mend="lengthen the runs, or check that the rule is sound",
        )
    return torch.cat(steps), torch.cat(columns), torch.cat(periods)
