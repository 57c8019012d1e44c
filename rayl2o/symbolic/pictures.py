"""What a report draws of a distillation beside its numbers: mapping curves and traces, as plain data in ``front.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Rule
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.imitation_traces import Trace, imitation_traces
from rayl2o.symbolic.mapping_curves import MappingCurve, mapping_curves
from rayl2o.symbolic.picture_fields import fields
from rayl2o.symbolic.trajectories import Trajectories


@dataclass(frozen=True)
class Pictures:
    """Network beside formula: update against one input, and update along recorded gradients."""

    curves: tuple[MappingCurve, ...] = ()
    traces: tuple[Trace, ...] = ()

    @classmethod
    def of(cls, rule: Rule, phi: Mapping[str, Tensor], formula: SymbolicRule, trajectories: Trajectories) -> Pictures:
        """Both kinds, on trajectories of the learned rule that the formula was not fitted to.

        Raises:
            UserError: If the rule is not coordinate-wise or reads more than the gradient.
        """
        curves = mapping_curves(rule, phi, formula, trajectories)
        return cls(curves, imitation_traces(formula, trajectories))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data; :meth:`from_json` reads it back."""
        return {
            "curves": [curve.to_json() for curve in self.curves],
            "traces": [trace.to_json() for trace in self.traces],
        }

    @classmethod
    def from_json(cls, data: object) -> Pictures:
        """Inverse of :meth:`to_json`; None stands for a distillation written before there were pictures.

        Raises:
            UserError: If a field is missing or of another type.
        """
        if data is None:
            return cls()
        found = fields(data, "the pictures")
        parts = [found.get("curves"), found.get("traces")]
        if not all(isinstance(part, list) for part in parts):
            raise UserError("the pictures need lists of curves and traces", value=sorted(found), mend="distil again")
        curves, traces = (part for part in parts if isinstance(part, list))
        return cls(tuple(map(MappingCurve.from_json, curves)), tuple(map(Trace.from_json, traces)))
