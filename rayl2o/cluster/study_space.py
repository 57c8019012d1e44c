"""What a study searches: named dimensions, each drawn by a fraction 0..1, and the ranges of every classic optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from scipy.stats.qmc import LatinHypercube

from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.search_space import SPACES, Range, Space
from rayl2o.evaluate.tuning import EDGE
from rayl2o.rules.adam_variants import AdaBelief, NAdam, Yogi
from rayl2o.rules.aggmo import AggMo
from rayl2o.rules.classic import Adagrad, Nesterov, Sgd
from rayl2o.rules.decoupled import AdamW
from rayl2o.rules.lion import Lion

OPTIMIZERS: Mapping[str, Space] = MappingProxyType(
    {
        **SPACES,
        "nesterov": Space("nesterov", SPACES["momentum"].ranges, Nesterov),
        "adagrad": Space("adagrad", {"lr": Range(1e-3, 10.0)}, Adagrad),
        "sgd": Space("sgd", {"lr": Range(1e-3, 10.0)}, Sgd),
        **{rule.kind: Space(rule.kind, SPACES["adam"].ranges, rule) for rule in (AdaBelief, NAdam, AdamW)},
        "yogi": Space("yogi", {**SPACES["adam"].ranges, "lr": Range(1e-4, 10.0)}, Yogi),
        "lion": Space("lion", {**SPACES["adam"].ranges, "lr": Range(1e-5, 0.1)}, Lion),
        "aggmo": Space("aggmo", {"lr": Range(1e-3, 10.0)}, AggMo),
    }
)
"""Classic rules that a study can sweep, with the ranges of their hyperparameters."""
USUAL = (*SPACES, "nesterov", "adagrad", "sgd")
"""Those that it sweeps unless told."""

KINDS = ("log", "uniform", "int", "choice")
"""How a dimension is written in YAML: ``{log: [low, high]}``, ..., ``{choice: [a, b]}``."""


class Dimension(Protocol):
    """One thing that is searched."""

    def at(self, fraction: float) -> Any:
        """The value at a fraction 0..1; JSON-able."""

    def on_edge(self, value: Any) -> bool:
        """Whether a best value here says that the range is too narrow."""

    def probes(self) -> tuple[Any, ...]:
        """Values that must be valid if all are: the ends, or every choice."""


@dataclass(frozen=True)
class Log:
    """Log-uniform; see :class:`rayl2o.evaluate.search_space.Range`."""

    range: Range

    def at(self, fraction: float) -> float:
        return float(self.range.at(np.array([fraction]))[0])

    def on_edge(self, value: Any) -> bool:
        return self.range.beyond(float(value), EDGE) is not None

    def probes(self) -> tuple[Any, ...]:
        return (self.at(0.0), self.at(1.0))


@dataclass(frozen=True)
class Linear:
    """Uniform between two ends, whole numbers only if ``whole``."""

    low: float
    high: float
    whole: bool = False

    def at(self, fraction: float) -> float:
        if self.whole:
            return min(int(self.low + fraction * (self.high - self.low + 1)), int(self.high))
        return float(f"{self.low + fraction * (self.high - self.low):.6g}")

    def on_edge(self, value: Any) -> bool:
        if self.whole:
            return value in (self.low, self.high)
        fraction = (float(value) - self.low) / (self.high - self.low)
        return fraction < EDGE or fraction > 1 - EDGE

    def probes(self) -> tuple[Any, ...]:
        return (self.at(0.0), self.at(1.0))


@dataclass(frozen=True)
class Choice:
    """One of several values; has no edge."""

    values: tuple[Any, ...]

    def at(self, fraction: float) -> Any:
        return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]

    def on_edge(self, value: Any) -> bool:  # noqa: ARG002
        return False

    def probes(self) -> tuple[Any, ...]:
        return self.values


def dimension(name: str, written: Any) -> Dimension:
    """A dimension as it is written in YAML.

    Raises:
        UserError: If its kind is unknown, or its values make no range.
    """
    if not isinstance(written, Mapping) or len(written) != 1:
        raise UserError(
            f"space.{name} must have one kind", value=written, mend=f"write e.g. {name}: {{log: [1e-4, 1e-2]}}"
        )
    ((kind, values),) = written.items()
    if kind not in KINDS:
        raise unknown_name(f"kind of space.{name}", str(kind), KINDS)
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise UserError(f"space.{name} is empty", value=values, mend="give a list of values")
    if kind == "choice":
        if any(value in values[:i] for i, value in enumerate(values)):
            raise UserError(f"a choice of space.{name} stands twice", value=list(values), mend="give each once")
        return Choice(tuple(values))
    low, high = _ends(f"space.{name}", values)
    if kind == "log":
        if low <= 0:
            raise UserError(f"a log range of space.{name} must be above 0", value=list(values), mend="use uniform")
        return Log(Range(low, high))
    if kind == "int" and not all(isinstance(end, int) for end in values):
        raise UserError(f"an int range of space.{name} needs whole numbers", value=list(values), mend="use uniform")
    return Linear(low, high, whole=kind == "int")


def dimensions_of(optimizer: str, ranges: Mapping[str, Sequence[float]]) -> dict[str, Dimension]:
    """The dimensions of a classic optimizer, its default ranges replaced by those of ``ranges`` (``adam.lr: [low, high]``).

    Raises:
        UserError: If a range names an unknown hyperparameter, or is not one.
    """
    found = dict(OPTIMIZERS[optimizer].ranges)
    for key, ends in ranges.items():
        owner, _, name = key.partition(".")
        if owner != optimizer:
            continue
        if name not in found:
            raise unknown_name(f"hyperparameter of {optimizer} in ranges", name, found)
        low, high = _ends(f"ranges.{key}", ends)
        momentum = found[name].complement
        if (low < 0 or high >= 1) if momentum else low <= 0:
            mend = "give numbers in [0, 1)" if momentum else "give numbers above 0"
            raise UserError(f"ranges.{key} is out of range", value=list(ends), mend=mend)
        found[name] = Range(1 - high, 1 - low, complement=True, ceiling=1.0) if momentum else Range(low, high)
    return {name: Log(r) for name, r in found.items()}


def latin(names: Sequence[str], draws: int, seed: int) -> list[dict[str, float]]:
    """``draws`` points of a Latin hypercube: random, every margin evenly covered; fraction by name of a dimension."""
    cube = LatinHypercube(len(names), rng=np.random.default_rng(seed)).random(draws)
    return [{name: float(point[i]) for i, name in enumerate(names)} for point in cube]


def setting_at(dimensions: Mapping[str, Dimension], point: Mapping[str, float]) -> dict[str, Any]:
    """The setting that a point stands for."""
    return {name: one.at(point[name]) for name, one in dimensions.items()}


def on_edge(dimensions: Mapping[str, Dimension], setting: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of those dimensions whose value lies at the edge of its range."""
    return tuple(name for name, one in dimensions.items() if one.on_edge(setting[name]))


def _ends(where: str, values: Any) -> tuple[float, float]:
    numbers = isinstance(values, Sequence) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )
    if not numbers or len(values) != 2:
        raise UserError(f"{where} must be two numbers", value=values, mend="write [low, high]")
    low, high = (float(value) for value in values)
    if not low < high:
        raise UserError(f"{where} is empty", value=list(values), mend="the first number must be below the second")
    return low, high
