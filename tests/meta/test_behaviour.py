"""Who acts: Algorithm 2's ratio per stage, and the self-improving share's line to zero."""

from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.meta.behaviour import PAPER_TEACHERS, RATIOS, BehaviourConfig, plan_behaviour, teacher_share
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


def test_the_share_may_begin_elsewhere() -> None:
    config = BehaviourConfig(self_improving=True, anneal=10, start=0.99)
    assert [teacher_share(config, n) for n in (0, 5, 10)] == pytest.approx([0.99, 0.495, 0.0])


def test_weighted_teachers() -> None:
    config = BehaviourConfig(teachers=("adam", "sgd", "momentum:lr=0.1"), weights=(3.0, 0.0, 1.0), imitation=(1.0,))
    taught = [plan_behaviour(config, 0, slot, ordinal, 4, 0)[1] for slot in range(4) for ordinal in range(250)]
    # 5 standard errors of a share of 3/4 among 1,000
    assert taught.count(("adam",)) / 1000 == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / 1000) ** 0.5)
    assert set(taught) == {("adam",), ("momentum:lr=0.1",)}


def test_weights_leave_who_imitates_when_alone() -> None:
    plain = BehaviourConfig(imitation=(0.4,))
    weighted = BehaviourConfig(imitation=(0.4,), weights=(1.0, 2.0, 3.0))
    for ordinal in range(50):
        assert plan_behaviour(plain, 0, 0, ordinal, 1, 0)[0] == plan_behaviour(weighted, 0, 0, ordinal, 1, 0)[0]


def test_named_lists_of_teachers() -> None:
    assert BehaviourConfig(teachers=("paper",)).rules == BehaviourConfig().rules == PAPER_TEACHERS
    assert BehaviourConfig(teachers=("code",)).rules == ("adam:lr=0.01",)
    mixed = BehaviourConfig(teachers=("momentum:lr=0.1,momentum=0.5", "code"), self_improving=True)
    assert plan_behaviour(mixed, 0, 0, 0, 1, 0) == (MIX, ("momentum:lr=0.1,momentum=0.5", "adam:lr=0.01"), 2 / 3)


@pytest.mark.parametrize(
    ("run", "ratios"),
    [("dm", [0.3] * 4), ("dm-cl", [0.0, 0.1, 0.3, 0.3]), ("rnnprop", [0.3] * 4), ("scale", [0.1] * 4)],
)
def test_the_published_ratios(run: str, ratios: list[float]) -> None:
    assert [BehaviourConfig(imitation_like=run).ratio(stage) for stage in range(4)] == ratios
    assert run in RATIOS


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teachers": ("papers",)}, "papers"),
        ({"imitation_like": "dm-c"}, "'dm-cl'"),
        ({"imitation_like": "dm", "imitation": (0.1,)}, "given twice"),
        ({"imitation_like": "dm", "teachers": ()}, "need teachers"),
        ({"weights": (1.0, 2.0)}, "one weight per teacher"),
        ({"weights": (1.0, -2.0, 1.0)}, "at least 0"),
        ({"weights": (0.0, 0.0, 0.0)}, "not all 0"),
        ({"weights": (1.0, float("inf"), 1.0)}, "at least 0"),
        ({"start": 1.5}, "share"),
        ({"imitation": (0.1, 1.5)}, "probabilities"),
        ({"teachers": (), "self_improving": True}, "need teachers"),
        ({"teachers": ("adm:lr=0.1",)}, "'adam'"),
        ({"anneal": 0}, "anneal"),
    ],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        BehaviourConfig(**settings)  # type: ignore[arg-type]
