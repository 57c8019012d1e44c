"""A distribution over tasks: a weighted mixture of families, which may themselves draw their settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.mixed_batch import build_mixed

Resolve = Callable[[str, Mapping[str, Any]], TaskFamily]
"""A task's family from its name and settings; ``registry.task`` in effect, which this module must not import."""
_KEYS = ("name", "settings", "weight")


@dataclass(frozen=True)
class Component:
    """A part of a mixture.

    Attributes:
        family: What it draws from.
        weight: How often, in proportion to the other weights.
    """

    family: TaskFamily
    weight: float = 1.0


@dataclass(frozen=True)
class Mixture:
    """Weighted mixture of tasks. Its specs are those of its parts: a mixture leaves no trace in what it draws.

    In a config::

        task:
          name: mixture
          settings:
            tasks:
              - {name: mlp-orig, weight: 2}
              - {name: quadratic, settings: {size: 10}}

    Attributes:
        components: At least one.
        build_alike: Builds specs of one family and one set of settings (``registry.build``).
    """

    family: ClassVar[str] = "mixture"
    setting_names: ClassVar[tuple[str, ...]] = ("tasks",)

    components: tuple[Component, ...]
    build_alike: Callable[..., TaskBatch]

    def __post_init__(self) -> None:
        if not self.components:
            raise UserError("a mixture needs tasks", value=[], mend="give settings.tasks, e.g. [{name: quadratic}]")

    @classmethod
    def compose(cls, settings: Mapping[str, Any], resolve: Resolve, build: Callable[..., TaskBatch]) -> Mixture:
        """The mixture of a config's settings ``{"tasks": [{"name", "settings", "weight"}, ...]}``.

        Raises:
            UserError: If there is anything else in them, a weight is not positive, or a task is refused.
        """
        for key in settings:
            if key != "tasks":
                raise unknown_name("setting of task 'mixture'", key, ["tasks"])
        parts = settings.get("tasks", ())
        if not isinstance(parts, Sequence) or isinstance(parts, str):
            raise UserError("mixture.tasks must be a list", value=parts, mend="e.g. [{name: quadratic, weight: 1}]")
        return cls(tuple(_component(part, resolve) for part in parts), build)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """Draws a part by weight, then a spec of that part."""
        bounds = list(accumulate(component.weight for component in self.components))
        point = float(torch.rand((), generator=generator, dtype=torch.float64)) * bounds[-1]
        chosen = next((i for i, bound in enumerate(bounds) if point < bound), len(bounds) - 1)
        return self.components[chosen].family.sample(generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        """K instances of whatever was drawn; a :class:`~rayl2o.tasks.mixed_batch.MixedBatch` unless all are alike."""
        return build_mixed(specs, lambda alike: self.build_alike(alike, device, dtype))


def _component(part: Any, resolve: Resolve) -> Component:
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise UserError("a part of a mixture needs a task's name", value=part, mend="e.g. {name: quadratic, weight: 1}")
    for key in part:
        if key not in _KEYS:
            raise unknown_name("key of a part of a mixture", str(key), _KEYS)
    weight, settings = part.get("weight", 1.0), part.get("settings", {})
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise UserError(f"weight of {part['name']!r} in a mixture is bad", value=weight, mend="give a number above 0")
    if not isinstance(settings, Mapping):
        raise UserError(f"settings of {part['name']!r} in a mixture are no mapping", value=settings, mend="{size: 10}")
    return Component(resolve(part["name"], settings), float(weight))
