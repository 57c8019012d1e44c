"""From trajectories to a regression table: operands cut from full histories at the rows that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.operands import MAX_LAG, Ema, Lag, Operand, OperandBank, Signal
from rayl2o.symbolic.engines.base import Data
from rayl2o.symbolic.sampling import STRATA, draw
from rayl2o.symbolic.trajectories import Trajectories

BETAS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
LAGS = 20
"""T of S: lags 0..19."""
MODES = ("ema", "paper")
_AT_ONCE = 512

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
        period: ``[R]``, :data:`~rayl2o.symbolic.sampling.EARLY` or ``LATE``.
        tensor: ``[R]``, index into ``tensors``.
        run: ``[R]``, which run.
        tensors: Names of the tensors.
        step: ``[R]``, updates made before the row's.
        layer: ``[R]``, depth of the row's tensor in its network, 0 at the input.
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
    step: Integers
    layer: Integers

    @property
    def names(self) -> tuple[str, ...]:
        """What engines call the columns: ``t`` by its own name, as they treat time apart, the rest ``x0, x1, ...``."""
        return tuple("t" if operand == Signal("t") else f"x{i}" for i, operand in enumerate(self.operands))

    def data(self, unit: Table | None = None) -> Data:
        """The rows as an engine sees them, in units of one standard deviation: those of ``unit`` (a table of the same operands).

        A group is one tensor of one run.
        """
        unit = unit or self
        group = self.run * max(1, len(self.tensors)) + self.tensor
        return Data(self.names, self.x / unit.x_scale, self.y / unit.y_scale, group)

    def columns(self) -> dict[Operand, Tensor]:
        """The columns as an expression takes them."""
        return {operand: torch.from_numpy(self.x[:, i]) for i, operand in enumerate(self.operands)}


def operands_of(
    kind: str,
    mode: str = "ema",
    signals: Sequence[str] = (),
    betas: Sequence[float] = BETAS,
    lags: int = LAGS,
) -> tuple[Operand, ...]:
    """The operands in which a rule of this kind is distilled.

    Args:
        kind: RNNprop is distilled in its own features m~ and g~, the one with a third feature in g too (what n~ is made of; its
            constants are weights, so that it is no signal); every other rule in g, sign-log g and g / rms.
        mode: ``ema`` (current value and averages) or ``paper`` (lags, as S).
        signals: Others than those, of :data:`~rayl2o.rules.operands.SIGNALS`; the time ``t`` comes without a past.
        betas: Of the averages.
        lags: T, 20 in S: lags 0..T-1.

    Raises:
        UserError: On an unknown mode or signal, or a beta or number of lags that is refused.
    """
    own = {"rnnprop": ("m_tilde", "g_tilde"), "rnnprop-extra": ("m_tilde", "g_tilde", "g")}
    chosen = tuple(dict.fromkeys(signals)) or own.get(kind, ("g", "q", "g_tilde"))
    if mode not in MODES:
        raise unknown_name("operand mode", mode, MODES)
    if not 1 <= lags <= MAX_LAG + 1:
        raise UserError("lags out of range", value=lags, mend=f"give 1 to {MAX_LAG + 1}, 20 as in S")
    now: tuple[Operand, ...] = tuple(Signal(name) for name in chosen)
    filtered = [name for name in chosen if name != "t"]
    if mode == "ema":
        return now + tuple(Ema(name, beta) for name in filtered for beta in dict.fromkeys(betas))
    return now + tuple(Lag(name, lag) for name in filtered for lag in range(1, lags))


def make_table(
    trajectories: Trajectories, operands: Sequence[Operand], rows: int = 5000, seed: int = 0, sampling: str = STRATA
) -> Table:
    """Draws about ``rows`` rows (:func:`~rayl2o.symbolic.sampling.draw`) and cuts the operands from the full histories.

    Raises:
        UserError: If no cell of (run, tensor, period) has a row, or the rule's answer is constant.
    """
    operands = tuple(operands)
    OperandBank(operands)  # refuses what is not distinct
    steps, columns, period = draw(trajectories, rows, seed, sampling)
    if len(steps) <= len(operands):
        raise UserError(
            f"fewer rows than are needed for {len(operands)} operands",
            value=len(steps),
            mend="record longer or more runs",
        )
    signals = tuple(Signal(name) for name in sorted({operand.signal for operand in operands}))
    cut = _cut(trajectories.grad, tuple(dict.fromkeys((*operands, *signals))), steps, columns)
    x = np.stack([cut[operand] for operand in operands], axis=1)
    y = trajectories.delta[steps, columns].double().numpy()
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or y.std() == 0.0:
        raise UserError(
            "the rule's answer does not vary, or is not finite", value=float(y[0]), mend="check the rule's weights"
        )
    spread = {signal.signal: float(cut[signal].std()) for signal in signals}
    tensor = trajectories.tensor[columns].numpy()
    return Table(
        operands=operands,
        x=x,
        y=y,
        x_scale=np.array([spread[operand.signal] or 1.0 for operand in operands]),
        y_scale=float(y.std()),
        y_limit=float(trajectories.delta.abs().max()),
        period=period.numpy(),
        tensor=tensor,
        run=trajectories.run[columns].numpy(),
        tensors=trajectories.tensors,
        step=steps.numpy(),
        layer=np.array(trajectories.depths or (0,) * len(trajectories.tensors), np.int64)[tensor],
    )


def _cut(grad: Tensor, operands: tuple[Operand, ...], steps: Tensor, columns: Tensor) -> dict[Operand, Floats]:
    """The operands ``[R]`` at (step, column), a few columns at a time: the whole histories of all would fill the memory."""
    bank = OperandBank(operands)
    found = {operand: np.empty(len(steps)) for operand in operands}
    for first in range(0, grad.shape[1], _AT_ONCE):
        inside = (columns >= first) & (columns < first + _AT_ONCE)
        values = bank.run(grad[:, first : first + _AT_ONCE].double())
        for operand, rows in found.items():
            rows[inside.numpy()] = values[operand][steps[inside], columns[inside] - first].numpy()
    return found
