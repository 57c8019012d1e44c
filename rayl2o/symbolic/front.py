"""The Pareto front of formulas: complexity against held-out rows, monotone by construction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from rayl2o.errors import UserError
from rayl2o.symbolic.candidate import Candidate, record
from rayl2o.symbolic.guards import NOT_MONOTONE, Reason

SCHEMA_VERSION = 1
LEAST_GAIN = 1e-6
"""In held-out R2: less than this is rounding, and no reason for a larger formula."""


@dataclass(frozen=True)
class Front:
    """Candidates by rising complexity, each strictly better on held-out rows than every simpler one, and those left out.

    Attributes:
        candidates: The front.
        refused: Candidates that a guard refused, with their reasons; kept for the report.
    """

    candidates: tuple[Candidate, ...]
    refused: tuple[Candidate, ...] = field(default=())

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Front:
        """Filters: refused ones out; of the rest, whatever is not better on validation than all that is simpler."""
        kept: list[Candidate] = []
        out: list[Candidate] = []
        best = -math.inf
        for candidate in sorted(candidates, key=lambda c: (c.complexity, -c.r2_val, str(c.expression))):
            if candidate.refused:
                out.append(candidate)
            elif candidate.r2_val > best + LEAST_GAIN:
                kept.append(candidate)
                best = candidate.r2_val
            else:
                out.append(not_monotone(candidate, best))
        return cls(tuple(kept), tuple(out))

    def thin(self, count: int) -> tuple[Candidate, ...]:
        """At most ``count`` candidates, evenly spread over the front, both ends kept."""
        size = len(self.candidates)
        if size <= count:
            return self.candidates
        if count == 1:
            return self.candidates[-1:]
        return tuple(self.candidates[round(i * (size - 1) / (count - 1))] for i in range(count))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data; :meth:`from_json` reads it back."""
        return {
            "schema_version": SCHEMA_VERSION,
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "refused": [candidate.to_json() for candidate in self.refused],
        }

    @classmethod
    def from_json(cls, data: object) -> Front:
        """Inverse of :meth:`to_json`.

        Raises:
            UserError: On another schema version, a missing field, or an invalid candidate.
        """
        fields = record(data, "a front")
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise UserError(
                "unknown schema version of a front",
                value=fields.get("schema_version"),
                mend=f"this release reads version {SCHEMA_VERSION}",
            )
        parts = [fields.get("candidates"), fields.get("refused")]
        if not all(isinstance(part, list) for part in parts):
            raise UserError("a front needs lists of candidates and refused", value=sorted(fields), mend="distil again")
        kept, out = ([Candidate.from_json(item) for item in part] for part in parts if isinstance(part, list))
        return cls(tuple(kept), tuple(out))


def not_monotone(candidate: Candidate, best: float) -> Candidate:
    """The candidate refused because a simpler formula has ``best``."""
    reason = Reason(NOT_MONOTONE, f"held-out R2 {candidate.r2_val:.4f}, but a simpler formula has {best:.4f}")
    return replace(candidate, refused=(reason,))
