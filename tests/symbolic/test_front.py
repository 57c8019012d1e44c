"""The front: Pareto by complexity and held-out rows, monotone, thinned evenly, read back from JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Operand, Signal
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.guards import ASCENT, NOT_MONOTONE, Reason

OPERANDS: tuple[Operand, ...] = (Signal("g"), *(Ema("g", beta) for beta in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)))


def candidate(terms: int, r2_val: float, refused: tuple[Reason, ...] = (), weight: float = -0.1) -> Candidate:
    return Candidate(
        expression=Expression.linear(dict.fromkeys(OPERANDS[:terms], weight)),
        engine="linear",
        clamp=1.0,
        r2_train=r2_val,
        r2_val=r2_val,
        r2_early=r2_val,
        r2_late=r2_val,
        r2_tensors={},
        refused=refused,
    )


def test_only_what_beats_everything_simpler_stays() -> None:
    front = Front.of([candidate(3, 0.7), candidate(1, 0.5), candidate(4, 0.9), candidate(2, 0.8), candidate(5, 0.9)])
    assert [c.complexity for c in front.candidates] == [3, 7, 15]
    assert [(c.complexity, c.refused[0].name) for c in front.refused] == [(11, NOT_MONOTONE), (19, NOT_MONOTONE)]
    assert "0.7000" in front.refused[0].refused[0].detail
    assert "0.8000" in front.refused[0].refused[0].detail


def test_of_equal_complexity_the_better_stays() -> None:
    front = Front.of([candidate(1, 0.5), candidate(1, 0.6, weight=-0.2)])
    assert [c.r2_val for c in front.candidates] == [0.6]


def test_the_refused_and_the_unscored_are_out_and_do_not_shadow_others() -> None:
    refused = candidate(1, 0.99, (Reason(ASCENT, "up"),))
    front = Front.of([refused, candidate(2, 0.5), candidate(3, float("nan")), candidate(4, float("-inf"))])
    assert [c.r2_val for c in front.candidates] == [0.5]
    assert {reason.name for c in front.refused for reason in c.refused} == {ASCENT, NOT_MONOTONE}


def test_the_order_of_arrival_does_not_matter() -> None:
    several = [candidate(i, r) for i, r in ((1, 0.5), (2, 0.4), (3, 0.8), (4, 0.8), (5, 0.9))]
    assert Front.of(several) == Front.of(reversed(several))


def test_thinning_keeps_both_ends() -> None:
    front = Front.of([candidate(i, 0.1 * i) for i in range(1, 8)])
    assert front.thin(20) == front.candidates
    assert [c.complexity for c in front.thin(3)] == [3, 15, 27]
    assert front.thin(1) == front.candidates[-1:]
    for count in range(2, 7):
        thin = front.thin(count)
        assert len(set(map(str, (c.expression for c in thin)))) == count
        assert (thin[0], thin[-1]) == (front.candidates[0], front.candidates[-1])


def test_json_reads_back() -> None:
    front = Front.of(
        [candidate(1, 0.5), candidate(2, 0.8), candidate(3, 0.7), candidate(4, 0.9, (Reason(ASCENT, "up"),))]
    )
    assert Front.from_json(json.loads(json.dumps(front.to_json(), allow_nan=False))) == front


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a front must be a JSON object"),
        ({"schema_version": 2, "candidates": [], "refused": []}, "schema version"),
        ({"candidates": [], "refused": []}, "schema version"),
        ({"schema_version": 1, "candidates": {}, "refused": []}, "lists of candidates"),
        ({"schema_version": 1, "candidates": []}, "lists of candidates"),
        ({"schema_version": 1, "candidates": [3], "refused": []}, "a candidate must be a JSON object"),
    ],
)
def test_nonsense_is_refused(data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Front.from_json(data)
