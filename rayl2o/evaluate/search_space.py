"""Where the hyperparameters of the classic rules are looked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rayl2o.rules.base import Rule
from rayl2o.rules.classic import Adam, Momentum, RmsProp

_DIGITS = 3
_WIDEN = 10.0


@dataclass(frozen=True)
class Range:
    """A log-uniform range of u, where the hyperparameter is u, or 1 - u if ``complement`` (momenta and decays).

    Attributes:
        low, high: Ends of u, 0 < low < high.
        complement: Whether the hyperparameter is 1 - u.
        ceiling: Natural limit of u, 1 for a momentum (which is then 0): an optimum there is no edge of the search.
    """

    low: float
    high: float
    complement: bool = False
    ceiling: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high <= self.ceiling:
            raise ValueError(f"a range needs 0 < low < high <= ceiling, got {self}")

    def at(self, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """The hyperparameter at fractions 0..1 of the range, u rounded to 3 digits: what is tried is what is printed."""
        exact = self.low * (self.high / self.low) ** fraction
        u = np.array([float(f"{x:.{_DIGITS}g}") for x in exact])
        return np.round(1 - u, 12) if self.complement else u

    def fraction(self, value: float) -> float:
        """Where in the range a hyperparameter lies: 0 at ``low``, 1 at ``high``."""
        u = 1 - value if self.complement else value
        return math.log(u / self.low) / math.log(self.high / self.low)

    def beyond(self, value: float, edge: float) -> tuple[Range, Range] | None:
        """If ``value`` lies within ``edge`` of an end that is not a natural limit: the range with a decade more at that end,
        and the part of it to look into, which is the new decade and the nearest quarter of the old range."""
        at, quarter = self.fraction(value), (self.high / self.low) ** 0.25
        if at < edge:
            wider = replace(self, low=self.low / _WIDEN)
            return wider, replace(wider, high=self.low * quarter)
        if at > 1 - edge and self.high < self.ceiling:
            wider = replace(self, high=min(self.high * _WIDEN, self.ceiling))
            return wider, replace(wider, low=self.high / quarter)
        return None


@dataclass(frozen=True)
class Space:
    """A classic rule and the ranges of its hyperparameters.

    Attributes:
        kind: Registered name of the rule.
        ranges: By name of a hyperparameter, in the order in which they are printed.
        make: The rule from hyperparameters by name: floats, or ``[K, 1]`` tensors with one setting per instance.
    """

    kind: str
    ranges: Mapping[str, Range]
    make: Callable[..., Rule]


def _momentum(low: float) -> Range:
    return Range(low, 1.0, complement=True, ceiling=1.0)


SPACES: Mapping[str, Space] = MappingProxyType(
    {
        space.kind: space
        for space in (
            Space("adam", {"lr": Range(1e-4, 1.0), "beta1": _momentum(1e-2), "beta2": _momentum(1e-4)}, Adam),
            Space("momentum", {"lr": Range(1e-3, 10.0), "momentum": _momentum(1e-3)}, Momentum),
            Space("rmsprop", {"lr": Range(1e-4, 1.0), "alpha": _momentum(1e-3)}, RmsProp),
        )
    }
)
"""The baselines of design.md section 11, by rule."""
