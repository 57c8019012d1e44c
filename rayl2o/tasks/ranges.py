"""Checks of a family's settings that name the range: what is out of it, by how much it may vary."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rayl2o.errors import UserError, unknown_name


def require_within(setting: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Checks ``low <= value <= high`` (``low < value`` if ``above``); infinity and NaN are in no range.

    Args:
        setting: With its family, e.g. ``lasso.rows``.
        value: As given.
        low, high: The range.
        above: Whether ``low`` itself is out of it.

    Raises:
        UserError: If not.
    """
    if math.isfinite(value) and (low < value if above else low <= value) and value <= high:
        return
    bound = f"above {low}" if above else f"of {low} or more"
    if math.isfinite(high):
        bound = f"above {low} and at most {high}" if above else f"in {low}..{high}"
    raise UserError(f"setting {setting} is out of range", value=value, mend=f"use a number {bound}")


def require_exponents(family: str, low: float, high: float) -> None:
    """Checks that ``low <= high`` are exponents of ten that a double can hold.

    Raises:
        UserError: If not.
    """
    if not -30 <= low <= high <= 30:
        mend = "use log10_smallest <= log10_largest, both within -30..30"
        raise UserError(f"eigenvalue range of {family} is bad", value=(low, high), mend=mend)


def require_one_of(kind: str, value: str, known: Iterable[str]) -> None:
    """Checks that a name is known.

    Raises:
        UserError: If not.
    """
    if value not in (names := tuple(known)):
        raise unknown_name(kind, value, names)
