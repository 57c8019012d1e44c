"""A front of candidates as the points that figures and tables of a report are made of."""

from __future__ import annotations

from rayl2o.evaluate.front_data import FrontPoint
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.front import Front

DIGITS = 3


def front_points(front: Front, selected: Candidate | None) -> tuple[FrontPoint, ...]:
    """The members by complexity, then those that were refused with their first reason."""
    members = [_point(candidate, selected) for candidate in front.candidates]
    return (*members, *(_point(candidate, None) for candidate in front.refused))


def _point(candidate: Candidate, selected: Candidate | None) -> FrontPoint:
    reasons = [reason.detail for reason in (*candidate.refused[:1], *candidate.flagged)]
    return FrontPoint(
        complexity=candidate.complexity,
        r2=candidate.r2_val,
        loss=candidate.closed_loop,
        text=str(candidate.expression.rounded(DIGITS)),
        chosen=selected is not None and candidate.expression == selected.expression,
        note="; ".join(reasons),
        refused=bool(candidate.refused),
        engine=candidate.engine,
        r2_train=candidate.r2_train,
        r2_test=candidate.r2_test,
        r2_stretched=candidate.r2_stretched,
        losses=candidate.closed_loop_runs,
        diverged=candidate.diverged,
        tpf=dict(candidate.tpf),
    )
