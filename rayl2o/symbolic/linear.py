"""The linear engine: no offset, orthogonal matching pursuit on scaled operands, and ridge on all of them.

Deterministic, under a CPU second. On published learned optimizers no engine has yet beaten it in closed loop, so it is what
every engine must beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.symbolic.candidate import assess
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.table import Floats, Table

ENGINE = "linear"


@dataclass(frozen=True)
class LinearConfig:
    """Settings of the linear engine.

    Attributes:
        terms: Numbers of terms of the sparse fits.
        ridge: Penalty of the fit with all operands, as a share of the rows (operands have unit variance).
        exchange: After each added term, swap chosen terms against others while that lowers the squared error, and come back
            down by dropping terms: averages of one signal are so alike that the greedy choice alone is often poor.
    """

    terms: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    ridge: float = 1e-4
    exchange: bool = True

    def __post_init__(self) -> None:
        if not self.terms or min(self.terms) < 1:
            raise UserError("the numbers of terms must be positive", value=self.terms, mend="use (1, 2, 3, 4, 6, 8)")
        if not self.ridge > 0:
            raise UserError("the ridge penalty must be positive", value=self.ridge, mend="use 1e-4")


def fit(train: Table, val: Table, config: LinearConfig | None = None) -> Front:
    """Fits on ``train``, scores on ``val``, guards, and returns the front. No offset: it would move dead coordinates too."""
    config = config or LinearConfig()
    x, y = train.x / train.x_scale, train.y / train.y_scale
    counts = sorted({k for k in config.terms if k < x.shape[1]})
    fits = pursue(x, y, counts, config.exchange)
    fits.append((tuple(range(x.shape[1])), ridge(x, y, config.ridge)))
    unit = train.y_scale / train.x_scale
    expressions = [
        Expression.linear(
            {train.operands[i]: float(w * unit[i]) for i, w in zip(chosen, weights, strict=True) if w != 0}
        )
        for chosen, weights in fits
        if np.any(weights != 0)
    ]
    return Front.of(assess(expression, train, val, ENGINE) for expression in dict.fromkeys(expressions))


def pursue(x: Floats, y: Floats, counts: Sequence[int], exchange: bool = True) -> list[tuple[tuple[int, ...], Floats]]:
    """Orthogonal matching pursuit: columns and weights for each of ``counts``.

    Works on the Gram matrix of unit-norm columns. Ends early, with fewer fits, once the residual is at rounding level.

    Args:
        x: ``[R, P]``.
        y: ``[R]``.
        counts: Numbers of terms.
        exchange: See :class:`LinearConfig`; the plain greedy pursuit if off.
    """
    norms = np.sqrt((x * x).sum(0))
    norms[norms == 0] = np.inf
    gram = (x / norms).T @ (x / norms)
    moment = (x / norms).T @ y
    supports = _forward(gram, moment, max(counts), 1e-9 * float(np.sqrt(y @ y)), exchange)
    if exchange:
        supports = _backward(gram, moment, supports)
    wanted = {k for k in counts if k <= len(supports)} | ({len(supports)} if len(supports) < max(counts) else set())
    return [
        (order, least_squares(x[:, order], y)) for k in sorted(wanted) for order in [tuple(sorted(supports[k - 1]))]
    ]


def _forward(gram: Floats, moment: Floats, most: int, rounding: float, exchange: bool) -> list[list[int]]:
    """Supports of size 1, 2, ...: each adds the column nearest the residual, then exchanges."""
    supports: list[list[int]] = []
    chosen: list[int] = []
    while len(chosen) < most:
        rest = moment - gram[:, chosen] @ _solve(gram, moment, chosen)
        rest[chosen] = 0
        if supports and np.abs(rest).max() <= rounding:
            break
        chosen = [*chosen, int(np.abs(rest).argmax())]
        if exchange:
            chosen = _exchange(gram, moment, chosen)
        supports.append(chosen)
    return supports


def _backward(gram: Floats, moment: Floats, supports: list[list[int]]) -> list[list[int]]:
    """Down from the largest support by dropping the least useful column, kept where that beats the forward pass."""
    better = list(supports)
    for k in range(len(supports) - 1, 0, -1):
        drops = [[c for c in better[k] if c != gone] for gone in better[k]]
        best = max(drops, key=lambda drop: _explained(gram, moment, drop))
        best = _exchange(gram, moment, best)
        if _explained(gram, moment, best) > _explained(gram, moment, better[k - 1]) * (1 + 1e-9):
            better[k - 1] = best
    return better


def least_squares(x: Floats, y: Floats) -> Floats:
    """The weights ``[P]`` of least norm that minimise ``|x w - y|``."""
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)


def ridge(x: Floats, y: Floats, penalty: float) -> Floats:
    """Least squares on all columns with ``penalty * rows`` on the squared weights, ``[P]``."""
    rows, size = x.shape
    return np.asarray(np.linalg.solve(x.T @ x + penalty * rows * np.eye(size), x.T @ y), dtype=np.float64)


def _solve(gram: Floats, moment: Floats, chosen: Sequence[int]) -> Floats:
    if not chosen:
        return np.zeros(0)
    return least_squares(gram[np.ix_(chosen, chosen)], moment[list(chosen)])


def _explained(gram: Floats, moment: Floats, chosen: Sequence[int]) -> float:
    """What the chosen columns take off the squared norm of y."""
    return float(moment[list(chosen)] @ _solve(gram, moment, chosen))


def _exchange(gram: Floats, moment: Floats, chosen: list[int]) -> list[int]:
    """Best single swap until none helps; each step strictly improves, so it ends."""
    best = _explained(gram, moment, chosen)
    while True:
        swaps = [
            [*chosen[:i], new, *chosen[i + 1 :]]
            for i in range(len(chosen))
            for new in range(len(gram))
            if new not in chosen
        ]
        scores = [_explained(gram, moment, swap) for swap in swaps]
        top = int(np.argmax(scores)) if scores else 0
        if not scores or scores[top] <= best * (1 + 1e-9):
            return chosen
        chosen, best = swaps[top], scores[top]
