"""Rules of few bytes fitted to a table directly: what a byte budget buys, with R2 and guards beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Lag, Operand
from rayl2o.symbolic.candidate import Candidate, assess
from rayl2o.symbolic.compress import Choice, ascending, state_bytes
from rayl2o.symbolic.compress_averages import from_averages
from rayl2o.symbolic.compress_windows import from_windows, with_window_averages
from rayl2o.symbolic.filters import FilterTerm, filter_terms, gains_of
from rayl2o.symbolic.guards import GRADIENT_SIGNALS, POSITIVE_GAIN, Reason
from rayl2o.symbolic.linear import least_squares, ridge
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.table import Table

ENGINE = "compressed"
MAX_BYTES = 16
"""m, v and two averages in float32; Adam has 8."""
RIDGE = 1e-4
SAME = 1e-4
"""Difference of squared errors, as a share of y's, that is no reason for another term."""

Cut = Callable[[tuple[Operand, ...]], tuple[Table, Table]]
"""Operands to the training and the held-out table, of the same rows, cut from full histories."""


@dataclass(frozen=True)
class Compressed:
    """One rule of few bytes.

    Attributes:
        candidate: Re-scored and guarded as any other; also refused where a signal's steady-state gain became positive.
        state_bytes: Float32 state per parameter, m and v included.
        full_r2: Held-out R2 of what was compressed: a formula, or ridge on all operands of the table.
        gains: Steady-state gain by signal, at small inputs.
        response_error: Of each signal's impulse response, as a share of its norm; empty where the table was fitted instead.
    """

    candidate: Candidate
    state_bytes: int
    full_r2: float
    gains: Mapping[str, float]
    response_error: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {
            "formula": str(self.candidate.expression),
            "state_bytes": self.state_bytes,
            "buffers": self.candidate.buffers,
            "complexity": self.candidate.complexity,
            "r2": self.candidate.r2_val,
            "full_r2": self.full_r2,
            "gains": dict(self.gains),
            "response_error": dict(self.response_error),
            "refused": [reason.to_json() for reason in self.candidate.refused],
        }


def compressed(train: Table, val: Table, max_bytes: int = MAX_BYTES, cut: Cut | None = None) -> tuple[Compressed, ...]:
    """The best linear rule of each size up to ``max_bytes``, by rising size, refused ones included.

    A table of averages (mode ``ema``): all sets of them that fit the budget (greedily where there are over 5,000). A table of
    lags (mode ``paper``): current value and one or two averages per signal, betas searched within
    :func:`~rayl2o.symbolic.compress.identifiable_beta`, averages cut off at the window's end as the rows are.

    Args:
        train, val: Tables of the same operands.
        max_bytes: Largest state per parameter, float32, m and v included: 16 allows m, v and two averages.
        cut: Cuts averages from full histories; weights are then fitted again and scored on what the rule will really see.
            Without it a rule found in windows is scored on the windows.

    Raises:
        UserError: If no rule over the table's signals fits the budget.
    """
    full = ridge(train.x / train.x_scale, train.y / train.y_scale, RIDGE) * train.y_scale / train.x_scale
    before = gains_of(FilterTerm(o, float(w)) for o, w in zip(train.operands, full, strict=True))
    full_r2 = r2(val.y, np.clip(val.x @ full, -train.y_limit, train.y_limit))
    lagged = any(isinstance(operand, Lag) for operand in train.operands)
    best: dict[int, list[Choice]] = {}
    for choice in from_windows(train, max_bytes) if lagged else from_averages(train, max_bytes):
        best.setdefault(state_bytes(tuple(choice.terms)), []).append(choice)
    if not best:
        raise UserError("no rule over these signals fits the budget", value=max_bytes, mend="allow 8 bytes or more")
    found = []
    for size in sorted(best):
        choice = _steadiest(best[size], before)
        tables = tables_for(tuple(choice.terms), train, val, cut)
        expression = Expression.linear(choice.terms) if cut is None else _refitted(choice, tables[0])
        found.append(scored(expression, *tables, full_r2, before))
    return tuple(found)


def tables_for(operands: tuple[Operand, ...], train: Table, val: Table, cut: Cut | None = None) -> tuple[Table, Table]:
    """Tables with these operands: cut from full histories if that can be, else made of the columns that there are.

    Raises:
        UserError: If a column cannot be made.
    """
    if cut is not None:
        return cut(operands)
    if set(operands) <= set(train.operands):
        return train, val
    return with_window_averages(train, operands), with_window_averages(val, operands)


def _steadiest(choices: Sequence[Choice], before: Mapping[str, float]) -> Choice:
    """The fewest terms within rounding of the least error, among those that ascend no signal if there are any."""
    steady = [choice for choice in choices if not _ascends(_gains(choice.terms), before)] or list(choices)
    least = min(choice.error for choice in steady)
    return min(
        (choice for choice in steady if choice.error <= least + SAME),
        key=lambda choice: (len(choice.terms), choice.error),
    )


def _ascends(gains: Mapping[str, float], before: Mapping[str, float]) -> bool:
    """As the guards have it: signals with the gradient's sign are descended each, others may correct each other as before."""
    alone = gains.keys() <= GRADIENT_SIGNALS
    return bool(ascending({} if alone else before, gains))


def scored(
    expression: Expression,
    train: Table,
    val: Table,
    full_r2: float,
    before: Mapping[str, float],
    response_error: Mapping[str, float] | None = None,
) -> Compressed:
    """A compressed filter on tables that have its operands, refused too where a signal that was descended is ascended now.

    Args:
        before: Steady-state gain by signal of what was compressed.
    """
    candidate = assess(expression, train, val, ENGINE)
    gains = gains_of(filter_terms(expression) or ())
    refused = list(candidate.refused)
    if not any(reason.name == POSITIVE_GAIN for reason in refused):
        refused += [
            Reason(POSITIVE_GAIN, f"the steady-state gain of {signal} became {gains[signal]:+.3g}: it is ascended")
            for signal in ascending(before, gains)
        ]
    size = state_bytes(expression.operands)
    return Compressed(replace(candidate, refused=tuple(refused)), size, full_r2, gains, dict(response_error or {}))


def _refitted(choice: Choice, train: Table) -> Expression:
    """The weights on a table that has the operands."""
    order = [train.operands.index(operand) for operand in choice.terms]
    scale = train.x_scale[order]
    weights = least_squares(train.x[:, order] / scale, train.y) / scale
    return Expression.linear(dict(zip(choice.terms, weights.tolist(), strict=True)))


def _gains(terms: Mapping[Operand, float]) -> dict[str, float]:
    return gains_of(FilterTerm(operand, weight) for operand, weight in terms.items())
