"""Constants: those inside terms fitted by least squares, and all of them rounded to as few digits as the fit bears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import rebuild
from rayl2o.symbolic.engines.base import Floats
from rayl2o.symbolic.engines.evolved_member import Member
from rayl2o.symbolic.engines.evolved_values import Columns, values
from rayl2o.symbolic.engines.head import weights
from rayl2o.symbolic.engines.terms import constants_of

DIGITS = (3, 4, 5, 6)
_TOLERANCE = 1e-3
_EXACT = 1e-10
_LARGEST = 1e3


def polished(member: Member, columns: Columns, y: Floats, evaluations: int = 8, most: int = 8) -> Member:
    """The member with the constants inside its terms (scales, exponents, ...) fitted, the weights solved for at every trial.

    Args:
        member: Its divisor, if any, stays as it is.
        columns, y: Rows to fit.
        evaluations: Of the residual with all its slopes.
        most: Members with more such constants, or none, come back unchanged.
    """
    inner = [constants_of(term) for term in member.terms]
    start = np.array([value for part in inner for value in part])
    if not 0 < len(start) <= most or len(start) > len(y):
        return member
    divisor = None if member.divisor is None else member.divisor.values(columns)
    fixed = {i: values(term, columns) for i, term in enumerate(member.terms) if not inner[i]}

    def terms_at(constants: Floats) -> Member:
        rest, changed = [float(c) for c in np.clip(constants, -_LARGEST, _LARGEST)], []
        for term, part in zip(member.terms, inner, strict=True):
            changed.append(rebuild(term, rest[: len(part)]))
            rest = rest[len(part) :]
        return Member(tuple(changed), member.weights, member.divisor)

    def fitted(constants: Floats) -> tuple[Floats, Floats]:
        parts = [fixed[i] if i in fixed else values(term, columns) for i, term in enumerate(terms_at(constants).terms)]
        x = np.stack([np.broadcast_to(part, y.shape) for part in parts], axis=1)
        x = x if divisor is None else x / divisor[:, None]
        found = weights(x, y)
        return y - x @ found, found

    before = float(np.sum(fitted(start)[0] ** 2))
    result = least_squares(
        lambda c: fitted(c)[0], start, method="lm", x_scale="jac", max_nfev=evaluations * (len(start) + 1)
    )
    left, found = fitted(np.asarray(result.x))
    better = np.isfinite(left).all() and float(np.sum(left**2)) < before
    return terms_at(np.asarray(result.x)).with_weights(found) if better else member


def rounded(
    expression: Expression, checks: Sequence[tuple[Columns, Floats]], digits: Sequence[int] = DIGITS
) -> Expression:
    """With constants of as few significant digits as leave the error on every (columns, y) as it was, simplified again."""
    before = [_error(expression, columns, y) for columns, y in checks]
    for count in digits:
        try:
            shorter = expression.rounded(count).simplify()
        except UserError:  # rounded up beyond the largest constant
            continue
        after = [_error(shorter, columns, y) for columns, y in checks]
        spread = [float(np.mean(y * y)) for _, y in checks]
        if all(a <= b * (1 + _TOLERANCE) + _EXACT * s for a, b, s in zip(after, before, spread, strict=True)):
            return shorter
    return expression


def _error(expression: Expression, columns: Columns, y: Floats) -> float:
    return float(np.mean((values(expression.root, columns) - y) ** 2))
