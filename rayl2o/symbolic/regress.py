"""Symbolic regression of any table: checks, scales, runs an engine, re-scores what it says, and recommends a formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Const, Node, rebuild
from rayl2o.rules.operands import Operand, column_operand
from rayl2o.symbolic.engines.asking import ask, understood
from rayl2o.symbolic.engines.base import Budget, Data, Engine, Floats, Pmap
from rayl2o.symbolic.engines.cpu_time import cpu_time
from rayl2o.symbolic.folding import folded, scaled
from rayl2o.symbolic.metrics import r2

BLOCKS = 20
"""Rows are cut into as many blocks; every fourth is held out, so that neighbours in time do not stand on both sides."""
HELD_OUT = 4
LEAST_ROWS = 40
STRETCH, BLOW_UP = 3.0, 1000.0
"""Inputs stretched so much must not give more than so many times max |y|."""
DIGITS = 6
TOLERANCE = 0.02
"""The simplest formula whose error is within this share of the variance of the best one's is recommended."""


@dataclass(frozen=True)
class Columns:
    """A table of numbers.

    Attributes:
        names: P names of inputs.
        x: float64 ``[R, P]``.
        y: float64 ``[R]``, the target.
    """

    names: tuple[str, ...]
    x: Floats
    y: Floats


@dataclass(frozen=True)
class Found:
    """A formula and how it does, in the units of the table.

    Attributes:
        expression: Over ``Variable`` leaves.
        mse_train, mse_test: Mean squared error on all given rows, and on the test rows (None without a test table).
        r2: On the test rows; without a test table on the rows that were held out from the fit.
        stable: Whether it is finite at 3x stretched inputs, and not beyond 1,000 times max |y|.
    """

    expression: Expression
    mse_train: float
    mse_test: float | None
    r2: float
    stable: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {
            "complexity": self.expression.complexity,
            "mse_train": self.mse_train,
            "mse_test": self.mse_test,
            "r2": self.r2,
            "formula": str(self.expression),
            "stable": self.stable,
        }


@dataclass(frozen=True)
class Regression:
    """Formulas by complexity, each better on held-out rows than every simpler one; the number of the one to use; CPU seconds."""

    front: tuple[Found, ...]
    recommended: int
    cpu_s: float


def regress(
    table: Columns,
    engine: Engine,
    budget: Budget,
    seed: int = 0,
    test: Columns | None = None,
    pmap: Pmap = map,
    offset: bool = True,
) -> Regression:
    """Fits ``y`` by formulas of the columns.

    Rows are given in their order (of time, if there is one); a quarter of them, in blocks, is kept from the fit and chooses. The
    test table chooses nothing.

    Args:
        table: What to explain.
        engine, budget, seed, pmap: The search.
        test: Rows to score on.
        offset: Whether an engine without such a setting of its own is given a column of ones.

    Raises:
        UserError: If a column holds what is not a finite number, too few rows, nothing varies, a name cannot stand in a formula,
            the test table has other columns, or the engine found nothing that is finite.
    """
    checked(table)
    if test is not None:
        checked(test, least=1)
        if test.names != table.names:
            raise UserError("the test table has other columns", value=test.names, mend=f"give {', '.join(table.names)}")
    begun = cpu_time()
    x_scale, y_scale = _scales(table.x), float(table.y.std())
    names, x = table.names, table.x / x_scale
    if offset and not hasattr(engine, "offset"):
        names, x = (*names, _free(names)), np.column_stack((x, np.ones(len(x))))
    block = np.arange(len(table.y)) * BLOCKS // len(table.y)
    held_out = block % HELD_OUT == HELD_OUT - 1
    fit, val = (Data(names, x[rows], table.y[rows] / y_scale, block[rows]) for rows in (~held_out, held_out))
    formulas, _ = understood(
        ask(engine, fit, val, budget, seed, pmap), lambda one: _unscaled(one, table.names, x_scale, y_scale)
    )
    front = _front(formulas, table, held_out, test)
    chosen = _recommended(front, float(table.y[held_out].var()))
    return Regression(tuple(found for found, _ in front), chosen, cpu_time() - begun)


def checked(table: Columns, least: int = LEAST_ROWS) -> None:
    """Raises UserError if the table is not one that can be fitted; see :func:`regress`."""
    for name in table.names:
        column_operand(name)
    if len(table.y) < least:
        raise UserError("too few rows to fit and to hold some out", value=len(table.y), mend=f"give {least} or more")
    for name, column in (*zip(table.names, table.x.T, strict=True), ("the target", table.y)):
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            raise UserError(
                f"column {name!r} holds what is not a finite number, first in row {bad[0]}",
                value=float(column[bad[0]]),
                mend="clean or drop these rows",
            )
    if least > 1 and float(table.y.std()) == 0.0:
        raise UserError("the target does not vary", value=float(table.y[0]), mend="name another column with --target")
    if least > 1 and not bool((table.x.std(0) > 0).any()):
        raise UserError("no input column varies", value=table.names, mend="give columns that do")


def _scales(x: Floats) -> Floats:
    spread: Floats = x.std(0)
    return np.where(spread > 0, spread, np.where(np.abs(x[0]) > 0, np.abs(x[0]), 1.0))


def _free(names: Sequence[str]) -> str:
    """A name for the column of ones that no column has."""
    return next(name for i in range(len(names) + 1) if (name := f"ones{i}") not in names)


def _unscaled(formula: Expression, names: Sequence[str], x_scale: Floats, y_scale: float) -> Expression:
    """The formula in the table's own units, constants rounded: it is scored as it is printed.

    Raises:
        UserError: If the formula reads another column, or its constants leave what formulas allow.
    """
    leaves: dict[Operand, Node] = {
        operand: scaled(operand, float(scale))
        for operand, scale in zip(map(column_operand, names), x_scale, strict=True)
    }
    leaves[column_operand(_free(names))] = Const(1.0)
    whole = folded(formula, leaves, y_scale)
    return Expression(rebuild(whole.root, [float(f"{value:.{DIGITS}g}") for value in whole.constants]))


def values(formula: Expression, table: Columns | Data, stretch: float = 1.0) -> Floats:
    """float64 ``[R]``: a formula over columns on the rows of a table, inputs times ``stretch``."""
    columns: dict[Operand, Tensor] = {
        column_operand(name): torch.from_numpy(np.ascontiguousarray(stretch * column))
        for name, column in zip(table.names, table.x.T, strict=True)
    }
    found: Floats = formula.evaluate(columns).expand(len(table.y)).double().numpy()
    return found


def _front(
    formulas: Sequence[Expression], table: Columns, held_out: NDArray[np.bool_], test: Columns | None
) -> list[tuple[Found, float]]:
    """Those that are finite everywhere and better on held-out rows than every simpler one, with their error there."""
    kept: list[tuple[Found, float]] = []
    for formula in sorted(formulas, key=lambda one: one.complexity):
        answers = values(formula, table)
        on_test = None if test is None else values(formula, test)
        if not (np.isfinite(answers).all() and (on_test is None or np.isfinite(on_test).all())):
            continue
        error = _mse(answers[held_out], table.y[held_out])
        if kept and error >= kept[-1][1]:
            continue
        unseen = r2(table.y[held_out], answers[held_out])
        if test is not None and on_test is not None:
            unseen = r2(test.y, on_test)
        on_test_error = None if test is None or on_test is None else _mse(on_test, test.y)
        found = Found(formula, _mse(answers, table.y), on_test_error, unseen, _stable(formula, table))
        kept.append((found, error))
    if not kept:
        raise UserError(
            "the engine found no finite formula", value=len(formulas), mend="try another engine, or more time"
        )
    return kept


def _mse(answers: Floats, y: Floats) -> float:
    return float(np.mean((answers - y) ** 2))


def _stable(formula: Expression, table: Columns) -> bool:
    stretched = values(formula, table, STRETCH)
    return bool(np.isfinite(stretched).all() and np.abs(stretched).max() <= BLOW_UP * np.abs(table.y).max())


def _recommended(front: Sequence[tuple[Found, float]], variance: float) -> int:
    """The simplest stable one that is near the best stable one on held-out rows."""
    usable = [i for i, (found, _) in enumerate(front) if found.stable] or list(range(len(front)))
    best = min(front[i][1] for i in usable)
    return next(i for i in usable if front[i][1] <= best + TOLERANCE * variance)
