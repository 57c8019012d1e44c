"""A task with augmentations: a family made of another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.seeds import derive_seed
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.augment.base import Augmentation, Instances
from rayl2o.tasks.augment.kinds import from_json, to_json
from rayl2o.tasks.augment.scaling import Scaling
from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.mixed_batch import build_mixed
from rayl2o.tasks.mixture import Resolve
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.specs import fresh_seed


@dataclass(frozen=True)
class Augmented:
    """Another family's tasks with augmentations: scaled, noisy, in other coordinates, from trained params.

    The first augmentation lies next to the inner task, the last one next to the optimizer. In a config, and in a spec::

        task:
          name: augmented
          settings:
            inner: {name: mlp-orig, settings: {data: digits}}
            with:
              - {kind: scaling}
              - {kind: convex, size: 20}

    A spec's seed draws the inner task and each augmentation, all independently; adding an augmentation of another kind does
    not change what the others draw. Where the inner family draws its settings, a spec has those that were drawn.

    Attributes:
        inner: The family that is augmented. Seeds of its specs are drawn anew.
        steps: The augmentations, in order; ``with`` in settings.

    Raises:
        UserError: By :meth:`compose` and :meth:`build`.
    """

    family: ClassVar[str] = "augmented"
    setting_names: ClassVar[tuple[str, ...]] = ("inner", "with")

    inner: TaskFamily = field(default_factory=Quadratic)
    steps: tuple[Augmentation, ...] = (Scaling(),)

    @classmethod
    def compose(
        cls,
        settings: Mapping[str, Any],
        resolve: Resolve,
        build: Callable[..., TaskBatch],  # noqa: ARG003  (of whatever is made of families)
    ) -> Augmented:
        """The family that settings, of a config or a spec, describe. Absent ones take their defaults.

        Raises:
            UserError: If a setting is unknown, of another type or out of range, or the inner task is refused.
        """
        for name in settings:
            if name not in cls.setting_names:
                raise unknown_name(f"setting of task {cls.family!r}", name, cls.setting_names)
        parts: dict[str, Any] = {}
        if "inner" in settings:
            parts["inner"] = resolve(*_inner(settings["inner"]))
        if "with" in settings:
            parts["steps"] = _steps(settings["with"])
        return cls(**parts)

    @property
    def layout(self) -> Layout:
        """That of the inner family, as the augmentations leave it; reads no data."""
        layout: Layout = self.inner.layout  # type: ignore[attr-defined]  # the protocol does not ask for it
        for step in self.steps:
            layout = step.layout(layout)
        return layout

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec of the inner family within one whose own seed draws everything."""
        inner = self.inner.sample(generator)
        seed = fresh_seed(generator)
        settings = {
            "inner": {"name": inner.family, "settings": dict(inner.settings)},
            "with": [to_json(step) for step in self.steps],
        }
        return TaskSpec(self.family, settings, seed)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        """K instances side by side, padded to the longest if the inner family drew different settings.

        Raises:
            UserError: If a spec is not of this family with these augmentations, or the inner family refuses.
            ValueError: If there are no specs.
        """
        if not specs:
            raise ValueError("a build needs at least one spec")

        def build_alike(alike: list[TaskSpec]) -> TaskBatch:
            inner = [self._inner_spec(spec) for spec in alike]
            return self._stage(len(self.steps), inner, [spec.seed for spec in alike], device, dtype)

        return build_mixed(specs, build_alike)

    def _stage(
        self,
        depth: int,
        specs: Sequence[TaskSpec],
        seeds: Sequence[int],
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> TaskBatch:
        """The instances under the first ``depth`` augmentations."""
        if depth == 0:
            return self.inner.build(specs, device, dtype)

        def alone(k: int) -> TaskBatch:
            return self._stage(depth - 1, specs[k : k + 1], seeds[k : k + 1], device, dtype)

        step, earlier = self.steps[depth - 1], self.steps[: depth - 1]
        twin = sum(other.kind == step.kind for other in earlier)
        own = tuple(derive_seed(self.family, step.kind, twin, seed) for seed in seeds)
        below = self._stage(depth - 1, specs, seeds, device, dtype)
        return step.wrap(below, Instances(own, alone, device, dtype))

    def _inner_spec(self, spec: TaskSpec) -> TaskSpec:
        """What is left of a spec without the augmentations."""
        if spec.family != self.family:
            mend = f"build specs of {self.family!r} only"
            raise UserError("specs of different families cannot be built together", value=spec.family, mend=mend)
        steps = _steps(spec.settings["with"]) if "with" in spec.settings else Augmented.steps
        if steps != self.steps:
            mend = f"build specs with {[to_json(step) for step in self.steps]} only"
            what = "specs of different augmentations cannot be built together"
            raise UserError(what, value=spec.settings.get("with"), mend=mend)
        name, settings = _inner(spec.settings["inner"]) if "inner" in spec.settings else (Quadratic.family, {})
        return TaskSpec(name, settings, derive_seed(self.family, "inner", spec.seed))


def _inner(data: object) -> tuple[str, dict[str, Any]]:
    """Name and settings of the inner family."""
    mend = "write it like {name: mlp, settings: {hidden: [20]}}"
    if not isinstance(data, Mapping):
        raise UserError("setting augmented.inner is not a mapping", value=data, mend=mend)
    for key in data:
        if key not in ("name", "settings"):
            raise unknown_name("key in augmented.inner", str(key), ("name", "settings"))
    name, settings = data.get("name"), data.get("settings", {})
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        raise UserError("setting augmented.inner needs a task's name", value=dict(data), mend=mend)
    return name, dict(settings)


def _steps(data: object) -> tuple[Augmentation, ...]:
    """The augmentations."""
    if not isinstance(data, list | tuple):
        mend = "write it like [{kind: scaling}, {kind: convex}]"
        raise UserError("setting augmented.with is not a list", value=data, mend=mend)
    return tuple(from_json(item) for item in data)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "mlp-lv": NamedTask(
            "augmented",
            {"with": [{"kind": "scaling"}, {"kind": "convex", "scaling": 1.0, "variant": "code"}]},
            "Training task of Lv et al.: MLP F-20-10, init std 0.1, randomly scaled, with a convex term",
            defaults={"inner": {"name": "mlp", "settings": {"init_std": 0.1}}},
        ),
    }
)
