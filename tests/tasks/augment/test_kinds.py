from __future__ import annotations

import json

import pytest

from rayl2o.errors import UserError
from rayl2o.tasks.augment.kinds import KINDS, from_json, to_json
from rayl2o.tasks.augment.scaling import Scaling
from tests.tasks.law_rows_augment import SINGLE


@pytest.mark.parametrize("name", SINGLE)
def test_a_description_survives_json(name: str) -> None:
    assert from_json(json.loads(json.dumps(to_json(SINGLE[name])))) == SINGLE[name]


@pytest.mark.parametrize("kind", KINDS)
def test_defaults(kind: str) -> None:
    assert from_json({"kind": kind}) == KINDS[kind]()
    assert to_json(KINDS[kind]())["kind"] == kind


def test_every_kind_is_among_the_rows() -> None:
    assert {step.kind for step in SINGLE.values()} == set(KINDS)


def test_a_whole_number_passes_for_a_float() -> None:
    assert from_json({"kind": "scaling", "low": -1, "high": 1}) == Scaling(-1.0, 1.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("scaling", "an augmentation is a mapping with a kind"),
        ({"low": 1.0}, "an augmentation is a mapping with a kind"),
        ({"kind": "scalling"}, "did you mean 'scaling'"),
        ({"kind": ["scaling"]}, "unknown kind of augmentation"),
        ({"kind": "scaling", "lo": 1.0}, "unknown setting of task 'scaling': got 'lo'; did you mean 'low'?"),
        ({"kind": "scaling", "low": "1"}, "setting scaling.low has the wrong type"),
        ({"kind": "convex", "size": 2.5}, "setting convex.size has the wrong type"),
        ({"kind": "restart", "lr": -1}, "lr of a restart out of range"),
    ],
)
def test_mistakes(data: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(data)
    assert message in str(caught.value)
