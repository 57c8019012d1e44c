"""Schedules: a factor on a rule's update as a function of the step, and how they are written among a rule's settings.

``adam:lr=0.1,warmup=100,cosine=1000x0.05`` has Adam's lr and two schedules; the arguments of one are joined by ``x`` as lists are
elsewhere, and several multiply. In JSON: ``{"lr": 0.1, "warmup": 100, "cosine": [1000, 0.05]}``. Every argument is a number, or
``[K, 1]`` as in :mod:`rayl2o.rules.classic`, to sweep it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.moments import Hyper, cast


class Schedule(Protocol):
    """A frozen dataclass without state."""

    def factor(self, step: Tensor) -> Tensor:
        """The factor on the update that follows ``step`` updates: floating, any shape, to its own shape and dtype."""

    def settings(self) -> dict[str, list[float]]:
        """Its arguments by name, as :func:`parted` reads them. Only for arguments that are numbers."""


@dataclass(frozen=True)
class Named:
    """What the schedules that can be written share; one adds its arguments, their bounds and :meth:`factor`.

    Raises:
        UserError: If a number among the arguments is out of its bounds.
    """

    name: ClassVar[str]
    bounds: ClassVar[Mapping[str, tuple[float, float]]]
    """By argument, its least and its largest value."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), self.bounds[field.name]
            if not isinstance(value, Tensor) and not (math.isfinite(value) and low <= value <= high):
                mend = f"give a number in [{low:g}, {high:g}]" if math.isfinite(high) else f"give a number >= {low:g}"
                raise UserError(f"schedule {self.name}: {field.name} out of range", value=value, mend=mend)

    def factor(self, step: Tensor) -> Tensor:
        """The factor on the update that follows ``step`` updates; see :class:`Schedule`."""
        raise NotImplementedError

    def settings(self) -> dict[str, list[float]]:
        """``{name: [arguments]}``."""
        return {self.name: [float(getattr(self, field.name)) for field in fields(self)]}


@dataclass(frozen=True)
class Cosine(Named):
    """From 1 down to ``floor`` on half a cosine in ``horizon`` steps, and ``floor`` from there on.

    Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5 without restarts; up to the horizon it is
    ``torch.optim.lr_scheduler.CosineAnnealingLR`` with ``eta_min = floor lr``.
    """

    name: ClassVar[str] = "cosine"
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType({"horizon": (1, math.inf), "floor": (0, 1)})
    horizon: Hyper
    floor: Hyper = 0.0

    def factor(self, step: Tensor) -> Tensor:
        """``floor + (1 - floor) (1 + cos(pi min(step / horizon, 1))) / 2``."""
        gone = (step / cast(self.horizon, step)).clamp(max=1.0)
        return cast(self.floor, step) + cast(0.5 * (1.0 - self.floor), step) * (1.0 + torch.cos(math.pi * gone))


@dataclass(frozen=True)
class Warmup(Named):
    """From ``1 / steps`` at the first update up to 1 at the ``steps``-th in equal steps, and 1 from there on."""

    name: ClassVar[str] = "warmup"
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType({"steps": (1, math.inf)})
    steps: Hyper

    def factor(self, step: Tensor) -> Tensor:
        """``min((step + 1) / steps, 1)``."""
        return ((step + 1.0) / cast(self.steps, step)).clamp(max=1.0)


@dataclass(frozen=True)
class StepDecay(Named):
    """Times ``gamma`` after every ``every`` updates, as ``torch.optim.lr_scheduler.StepLR``."""

    name: ClassVar[str] = "step_decay"
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = MappingProxyType({"every": (1, math.inf), "gamma": (0, 1)})
    every: Hyper
    gamma: Hyper = 0.1

    def factor(self, step: Tensor) -> Tensor:
        """``gamma^floor(step / every)``."""
        return torch.pow(cast(self.gamma, step), torch.floor(step / cast(self.every, step)))


@dataclass(frozen=True)
class Product:
    """The product of schedules; 1 for none."""

    schedules: tuple[Schedule, ...]

    def factor(self, step: Tensor) -> Tensor:
        """The product of the factors."""
        total = torch.ones_like(step)
        for schedule in self.schedules:
            total = total * schedule.factor(step)
        return total

    def settings(self) -> dict[str, list[float]]:
        """Those of every schedule.

        Raises:
            UserError: If two have one name, which cannot be written.
        """
        found: dict[str, list[float]] = {}
        for schedule in self.schedules:
            for name, arguments in schedule.settings().items():
                if name in found:
                    mend = "write it by schedules of different names"
                    raise UserError(f"a product with two {name} schedules has no settings", value=self, mend=mend)
                found[name] = arguments
        return found


SCHEDULES: Mapping[str, type[Named]] = MappingProxyType({kind.name: kind for kind in (Cosine, Warmup, StepDecay)})
"""By name, which no setting of a rule may have."""


def parted(settings: Mapping[str, Any]) -> tuple[dict[str, Any], Schedule | None]:
    """Settings, typed or from JSON, to those of the rule itself and the schedule among them (None if there is none).

    Raises:
        UserError: If the arguments of a schedule are malformed, too few, too many or out of range.
    """
    own = {name: value for name, value in settings.items() if name not in SCHEDULES}
    found = [_read(SCHEDULES[name], value) for name, value in settings.items() if name in SCHEDULES]
    if len(found) > 1:
        return own, Product(tuple(found))
    return own, found[0] if found else None


def _read(kind: type[Named], value: Any) -> Schedule:
    arguments = _numbers(value)
    names = [field.name for field in fields(kind)]
    required = sum(field.default is MISSING for field in fields(kind))
    if arguments is None or not required <= len(arguments) <= len(names):
        form = "x".join(name.upper() for name in names)
        least = "x".join(name.upper() for name in names[:required])
        forms = form if form == least else f"{least} or {form}"
        raise UserError(f"cannot read the schedule {kind.name}", value=value, mend=f"write it like {kind.name}={forms}")
    return kind(*arguments)


def _numbers(value: Any) -> list[float] | None:
    """Numbers that are typed with ``x`` between them, or in JSON alone or in a list; None if they are not."""
    parts = value.split("x") if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    kinds = str if isinstance(value, str) else int | float
    if not all(isinstance(part, kinds) and not isinstance(part, bool) for part in parts):
        return None
    try:
        return [float(part) for part in parts]
    except (ValueError, OverflowError):  # no number, or an integer beyond the floats
        return None
