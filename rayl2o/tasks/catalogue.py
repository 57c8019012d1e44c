"""Every family and every named task of this package. A module that brings some names them here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from rayl2o.tasks import mlp
from rayl2o.tasks.mixture import Mixture
from rayl2o.tasks.mlp import MLP
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.quadratic import Quadratic


def _by_name(parts: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        if twice := set(found) & set(part):
            raise ValueError(f"two tasks of one name: {sorted(twice)}")
        found |= part
    return MappingProxyType(found)


FAMILIES: Mapping[str, type] = MappingProxyType({family.family: family for family in (Quadratic, MLP, Mixture)})
"""Families by name."""
NAMED: Mapping[str, NamedTask] = _by_name([mlp.NAMED])
"""Named tasks; no name is also a family's, except where the task is the family with its defaults."""
