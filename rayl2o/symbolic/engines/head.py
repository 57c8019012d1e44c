"""The linear head: which columns enter a sum, one by one, and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayl2o.symbolic.engines.base import Floats

RIDGE = 1e-9
"""Penalty on the weights of unit-norm columns: keeps near copies of a column from cancelling each other."""
_ROUNDING = 1e-10
_COST_POWER = 0.5


@dataclass(frozen=True)
class Pool:
    """Columns that a head may use.

    Attributes:
        x: ``[R, K]``.
        cost: ``[K]``, nodes that each adds to a formula.
    """

    x: Floats
    cost: Floats


def forward(pool: Pool, y: Floats, most: int, start: Sequence[int] = (), thrift: float = _COST_POWER) -> list[int]:
    """Columns in the order of what each takes off the squared error, given those before it, per ``cost ** thrift``.

    Orthogonal least squares: unlike matching pursuit it sees how a column helps after the others were fitted again.

    Args:
        pool: The columns.
        y: ``[R]``.
        most: How many to choose beyond ``start``.
        start: Columns that are in already; returned first.
        thrift: 0 ignores the cost.

    Returns:
        Indices; fewer than asked once the rest is at rounding level.
    """
    rest, left = pool.x.copy(), y.astype(np.float64, copy=True)
    power = np.einsum("rk,rk->k", rest, rest)
    first, limit = np.maximum(power, 1e-300), _ROUNDING * float(y @ y)
    chosen: list[int] = []
    queue = list(start)
    while len(chosen) < most + len(start):
        if queue:
            best = queue.pop(0)
        else:
            gain = np.where(power > 1e-7 * first, (left @ rest) ** 2 / np.maximum(power, 1e-300), 0.0)
            gain[chosen] = 0.0
            best = int(np.argmax(gain / pool.cost**thrift))
            if gain[best] <= limit or float(left @ left) <= limit:
                break
        chosen.append(best)
        if power[best] <= 1e-12 * first[best]:
            continue
        unit = rest[:, best] / np.sqrt(power[best])
        shares = unit @ rest
        rest -= np.outer(unit, shares)
        left = left - unit * float(unit @ left)
        power = np.maximum(power - shares**2, 0.0)
    return chosen


def weights(x: Floats, y: Floats, ridge: float = RIDGE) -> Floats:
    """Least-squares weights ``[K]`` of ``x [R, K]`` with a ridge on unit-norm columns."""
    norms = np.sqrt(np.einsum("rk,rk->k", x, x))
    norms[norms == 0] = 1.0
    gram = (x.T @ x) / np.outer(norms, norms)
    moment = (x.T @ y) / norms
    return np.asarray(solve(gram, moment, ridge) / norms)


def solve(gram: Floats, moment: Floats, ridge: float = RIDGE) -> Floats:
    """``(gram + ridge) w = moment``; of least norm where even that is singular."""
    system = gram + ridge * np.eye(len(gram))
    try:
        return np.asarray(np.linalg.solve(system, moment), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(system, moment, rcond=None)[0], dtype=np.float64)


def fold_errors(x: Floats, y: Floats, folds: Sequence[np.ndarray[tuple[int], np.dtype[np.bool_]]]) -> Floats:
    """Mean squared error on each fold (bool ``[R]``) of weights fitted on the other rows, ``[F]``."""
    norms = np.sqrt(np.einsum("rk,rk->k", x, x))
    norms[norms == 0] = 1.0
    x = x / norms
    gram, moment = x.T @ x, x.T @ y
    errors = []
    for fold in folds:
        inside, answer = x[fold], y[fold]
        fitted = solve(gram - inside.T @ inside, moment - inside.T @ answer)
        errors.append(float(np.mean((inside @ fitted - answer) ** 2)))
    return np.array(errors)
