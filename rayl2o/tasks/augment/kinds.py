"""Augmentations to and from JSON-able data: ``{"kind": "scaling", "low": -3.0, "high": 3.0}``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from rayl2o.errors import UserError, unknown_name
from rayl2o.tasks.augment.base import Augmentation
from rayl2o.tasks.augment.convex import Convex
from rayl2o.tasks.augment.gradient_noise import GradientNoise
from rayl2o.tasks.augment.loss_rescaling import LossRescaling
from rayl2o.tasks.augment.reparametrisation import Reparametrisation
from rayl2o.tasks.augment.restart import Restart
from rayl2o.tasks.augment.scaling import Scaling
from rayl2o.tasks.settings import from_settings, to_settings

KINDS: Mapping[str, type] = MappingProxyType(
    {kind.kind: kind for kind in (Scaling, Reparametrisation, Convex, GradientNoise, LossRescaling, Restart)}
)
"""Every augmentation by the name of its kind."""


def to_json(augmentation: Augmentation) -> dict[str, Any]:
    """Its kind and every setting, defaults included."""
    return {"kind": augmentation.kind, **to_settings(augmentation)}


def from_json(data: object) -> Augmentation:
    """Inverse of :func:`to_json`; absent settings take their defaults.

    Raises:
        UserError: If the kind or a setting is unknown, of the wrong type or out of range.
    """
    if not isinstance(data, Mapping) or "kind" not in data:
        raise UserError("an augmentation is a mapping with a kind", value=data, mend="write it like {kind: scaling}")
    kind, settings = data["kind"], {name: value for name, value in data.items() if name != "kind"}
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown_name("kind of augmentation", str(kind), KINDS)
    return cast(Augmentation, from_settings(KINDS[kind], settings, kind))
