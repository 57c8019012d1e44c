"""Sparse linear fits: orthogonal matching pursuit with exchanges, ridge, least squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pursue(x: Floats, y: Floats, counts: Sequence[int], exchange: bool = True) -> list[tuple[tuple[int, ...], Floats]]:
    """Orthogonal matching pursuit: columns and weights for each of ``counts``.

    Works on the Gram matrix of unit-norm columns. Ends early, with fewer fits, once the residual is at rounding level.

    Args:
        x: ``[R, P]``.
        y: ``[R]``.
        counts: Numbers of terms.
        exchange: After each added term, swap chosen terms against others while that lowers the squared error, and come back
            down by dropping terms: averages of one signal are so alike that the greedy choice alone is often poor.
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
