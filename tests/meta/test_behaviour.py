"""Who acts: Algorithm 2's ratio per stage, and the self-improving share's line to zero."""

from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.meta.behaviour import PAPER_TEACHERS, BehaviourConfig, plan_behaviour, teacher_share
from rayl2o.unroll.segment import MIX, STUDENT, TEACHER


def test_imitation_ratio_and_uniform_teachers() -> None:
    config = BehaviourConfig(imitation=(0.0, 0.3))
    plans = [plan_behaviour(config, 0, slot, ordinal, 4, 1) for slot in range(4) for ordinal in range(250)]
    taught = [teachers for behaviour, teachers, _ in plans if behaviour == TEACHER]
    assert 0.25 < len(taught) / len(plans) < 0.35
    for teacher in PAPER_TEACHERS:
        assert 0.25 < sum(t == (teacher,) for t in taught) / len(taught) < 0.42
    assert {plan_behaviour(config, 0, 0, n, 4, 0)[0] for n in range(50)} == {STUDENT}
    assert config.ratio(7) == 0.3


def test_certainty() -> None:
    assert {plan_behaviour(BehaviourConfig(imitation=(1.0,)), 0, 0, n, 1, 0)[0] for n in range(50)} == {TEACHER}


def test_self_improving_share_falls_linearly_to_zero() -> None:
    config = BehaviourConfig(self_improving=True, anneal=100)
    assert teacher_share(config, 0) == 0.75
    assert teacher_share(config, 50) == pytest.approx(0.375)
    assert teacher_share(config, 100) == teacher_share(config, 5000) == 0.0
    behaviour, teachers, share = plan_behaviour(config, 0, 1, 10, 2, 0)
    assert (behaviour, teachers) == (MIX, PAPER_TEACHERS)
    assert share == pytest.approx(0.75 * 0.79)
    assert plan_behaviour(config, 0, 1, 60, 2, 0) == (STUDENT, (), 0.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"imitation": (0.1, 1.5)}, "probabilities"),
        ({"teachers": (), "self_improving": True}, "need teachers"),
        ({"teachers": ("adm:lr=0.1",)}, "'adam'"),
        ({"anneal": 0}, "anneal"),
    ],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        BehaviourConfig(**settings)  # type: ignore[arg-type]
