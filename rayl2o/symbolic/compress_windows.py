"""One or two averages per signal fitted to windows of lags: betas searched, weights solved for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rayl2o.errors import UserError
from rayl2o.rules.operands import Ema, Lag, Operand, Signal
from rayl2o.symbolic.compress import STATES, Choice, identifiable_beta, search_betas, state_bytes
from rayl2o.symbolic.linear import least_squares
from rayl2o.symbolic.table import Floats, Table

SWEEPS = 4
_TOLERANCE = 1e-8
_ENOUGH = 1e-5  # in the share of the squared error: a sweep that gains less is the last


def from_windows(train: Table, max_bytes: int) -> Iterator[Choice]:
    """Sets of signals with none to two averages each, within the budget; the time is no filter input."""
    signals = sorted({operand.signal for operand in train.operands} - {"t"})
    for count in range(1, len(signals) + 1):
        for names in itertools.combinations(signals, count):
            for states in itertools.product(*(_numbers(train, name) for name in names)):
                probe = [op for name, k in zip(names, states, strict=True) for op in _operands(name, _marks(k))]
                if state_bytes(tuple(probe)) <= max_bytes:
                    yield _fit(train, dict(zip(names, states, strict=True)))


def with_window_averages(table: Table, operands: Sequence[Operand]) -> Table:
    """The table over other operands: its own columns, and averages made of its lags, cut off where its window ends.

    Raises:
        UserError: If it has no such signal or lag.
    """
    columns = {operand: table.x[:, i] for i, operand in enumerate(table.operands)}
    scales = {operand.signal: float(table.x_scale[i]) for i, operand in enumerate(table.operands)}
    made = []
    for operand in operands:
        if operand in columns:
            made.append(columns[operand])
        elif isinstance(operand, Ema) and operand.signal in scales:
            made.append(_average(table, operand))
        else:
            raise UserError("a column that the table does not have", value=str(operand), mend="make the table with it")
    return replace(
        table,
        operands=tuple(operands),
        x=np.stack(made, axis=1),
        x_scale=np.array([scales[operand.signal] for operand in operands]),
    )


def _fit(train: Table, states: Mapping[str, int]) -> Choice:
    """Betas of signal after signal, all weights solved for each time, until a sweep helps no more."""
    windows = {name: _window(train, name) / _scale(train, name) for name in states}
    # Least squares over many rows is least squares over the few of their triangular factor.
    rows = np.column_stack([*windows.values(), train.y / train.y_scale])
    root: Floats = np.asarray(np.linalg.qr(rows, mode="r"), dtype=np.float64)
    target, used = root[:, -1], 0
    spans: dict[str, Floats] = {}
    for name, window in windows.items():
        spans[name] = root[:, used : used + window.shape[1]]
        used += window.shape[1]
    total = float(target @ target)

    def solved(betas: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Weights, and what they leave."""
        columns = np.hstack([_columns(spans[name], betas[name]) for name in states])
        weights = least_squares(columns, target)
        return weights, columns @ weights - target

    betas = {name: np.array(_marks(count)) for name, count in states.items()}
    last = math.inf
    for sweep in range(SWEEPS):
        for name, count in states.items():
            if count:

                def misfit(new: Floats, name: str = name) -> Floats:
                    return solved({**betas, name: new})[1]

                near = betas[name] if sweep else None
                betas[name] = search_betas(misfit, count, identifiable_beta(spans[name].shape[1]), near, _TOLERANCE)
        weights, rest = solved(betas)
        error = float(rest @ rest) / total
        if error > last - _ENOUGH:
            break
        last = error
    operands = [op for name in states for op in _operands(name, betas[name].tolist())]
    terms: dict[Operand, float] = {}
    for operand, weight in zip(operands, weights.tolist(), strict=True):  # two betas may meet at their limit
        terms[operand] = terms.get(operand, 0.0) + weight * train.y_scale / _scale(train, operand.signal)
    return Choice(terms, error)


def _numbers(table: Table, name: str) -> list[int]:
    """How many averages the signal's window can tell apart."""
    depth = _window(table, name).shape[1]
    return [0, *(count for count in STATES if depth > 2 * count + 1)]


def _marks(count: int) -> list[float]:
    """Distinct betas to begin with."""
    return [0.5 + 0.2 * k for k in range(count)]


def _operands(name: str, betas: Sequence[float]) -> list[Operand]:
    return [Signal(name), *(Ema(name, beta) for beta in betas)]


def _columns(span: Floats, betas: Floats) -> Floats:
    return np.column_stack([span[:, 0], *(span @ _decay(float(beta), span.shape[1]) for beta in betas)])


def _decay(beta: float, depth: int) -> Floats:
    return np.asarray((1.0 - beta) * beta ** np.arange(depth), dtype=np.float64)


def _average(table: Table, operand: Ema) -> Floats:
    window = _window(table, operand.signal)
    return np.asarray(window @ _decay(operand.beta, window.shape[1]), dtype=np.float64)


def _scale(table: Table, signal: str) -> float:
    return next(float(s) for o, s in zip(table.operands, table.x_scale, strict=True) if o.signal == signal)


def _window(table: Table, signal: str) -> Floats:
    """``[R, T]``, newest first, in the signal's own unit."""
    place = {operand: i for i, operand in enumerate(table.operands)}
    depth = 1 + max((o.lag for o in table.operands if isinstance(o, Lag) and o.signal == signal), default=0)
    wanted: list[Operand] = [Signal(signal), *(Lag(signal, lag) for lag in range(1, depth))]
    if gaps := [operand for operand in wanted if operand not in place]:
        raise UserError("a window with a gap", value=str(gaps[0]), mend="make the table in mode 'paper'")
    return np.asarray(table.x[:, [place[operand] for operand in wanted]])
