"""Replay: what is kept, drawn and forgotten does not depend on the order of arrival; staleness has a bound."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from rayl2o.checkpoint import digest
from rayl2o.errors import UserError
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig
from rayl2o.meta.learner import learner_step
from rayl2o.meta.replay import FULL, STALE, UNSOUND, USED_UP, ReplayConfig, ReplayState, draws, forget, sample, take
from rayl2o.meta.rounds import TrainConfig, absorb, fresh_state, learn, perform, plan_round, run_round
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import TEACHER, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

RULE = make("dm", {"hidden": [3]})
FAMILY = task("quadratic", size=4)
ON = ReplayConfig(uses=2, capacity=6, updates=2, max_staleness=3)


@cache
def _segment(slot: int = 0, version: int = 0, ordinal: int = 0) -> Segment:
    ticket = Ticket("r", 0, slot, ordinal, (FAMILY.sample(generator("t")),), 40)
    return rollout(RULE, UnrollConfig(steps=2), ticket, None, RULE.init_phi(generator("phi")), version)[0]


def _filled(config: ReplayConfig, rounds: int, slots: int = 2) -> ReplayState:
    """After some rounds of ``lag`` 0."""
    state = ReplayState()
    for round in range(1, rounds + 1):
        state = take(config, state, [_segment(slot, round - 1, round) for slot in range(slots)], round)
    return state


def _keys(state: ReplayState) -> list[tuple[int, int]]:
    return [kept.key[:2] for kept in state.entries]


def test_segments_are_kept_in_order_whatever_order_they_came_in() -> None:
    backwards = take(ON, _filled(ON, 1), [_segment(slot, 1, 2) for slot in (2, 0, 1)], 2)
    assert _keys(backwards) == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    assert all(kept.uses == 2 for kept in backwards.entries)


def test_the_oldest_make_room() -> None:
    state = _filled(ON, 4)
    assert _keys(state) == [(2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1)]
    assert state.drops == {FULL: 2}


def test_what_no_file_may_hold_is_not_kept() -> None:
    broken = replace(_segment(), credit=torch.full_like(_segment().credit, torch.inf))
    state = take(ON, ReplayState(), [broken, _segment(1)], 1)
    assert _keys(state) == [(1, 1)]
    assert state.drops == {UNSOUND: 1}


@pytest.mark.parametrize("round", [3, 5, 6, 8, 50])
def test_no_segment_is_drawn_beyond_the_bound(round: int) -> None:
    for i in range(20):
        drawn, state = sample(ON, _filled(ON, 3), round, 10, draws(0, round, i))
        assert all(round - s.source.policy_version <= ON.max_staleness for s in drawn)
        assert len(drawn) == 2 * len([version for version in range(3) if round - version <= ON.max_staleness])
        assert state.drops.get(STALE, 0) == 6 - len(drawn)
    assert forget(ON, _filled(ON, 3), round).drops.get(STALE, 0) == 6 - len(drawn)


def test_a_use_is_counted_and_the_last_one_ends_it() -> None:
    state = _filled(ON, 2)
    once, state = sample(ON, state, 2, 3, draws(0, 3, 0))
    assert len({id(segment) for segment in once}) == 3
    assert sorted(kept.uses for kept in state.entries) == [1, 1, 1, 2]
    every, state = sample(ON, state, 2, 9, draws(0, 3, 1))
    assert [(s.source.policy_version, s.source.slot) for s in every] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [kept.uses for kept in state.entries] == [1]
    assert state.drops == {USED_UP: 3}
    assert sample(ON, ReplayState(), 2, 3, draws(0, 3, 0)) == ([], ReplayState())


def test_fresh_segments_are_drawn_more_often() -> None:
    config, counts = replace(ON, max_staleness=20), [0, 0, 0]
    state = _filled(config, 3, slots=1)
    for i in range(1100):
        ((segment,), _) = sample(config, state, 11, 1, draws(0, 12, i))
        counts[segment.source.policy_version] += 1
    total = 1 / 12 + 1 / 11 + 1 / 10
    for version, count in enumerate(counts):
        assert count == pytest.approx(1100 / (12 - version) / total, abs=50)
    assert counts[0] < counts[2]


def test_draws_depend_on_seed_round_and_update_only() -> None:
    config = replace(ON, capacity=64)

    def drawn(*place: int) -> list[int]:
        return [id(s) for s in sample(config, _filled(config, 4, slots=4), 4, 4, draws(*place))[0]]

    assert drawn(0, 5, 0) == drawn(0, 5, 0)
    assert len({tuple(drawn(*place)) for place in [(0, 5, 0), (1, 5, 0), (0, 6, 0), (0, 5, 1)]}) == 4


CONFIG = TrainConfig(
    seed=3,
    slots=2,
    updates=9,
    unroll=UnrollConfig(steps=2),
    curriculum=CurriculumConfig(kind="none", n_train=(4,)),
    behaviour=BehaviourConfig(imitation=(0.4,)),
    replay=ON,
)


def test_a_round_replays_what_earlier_rounds_left_after_its_own_update() -> None:
    state = fresh_state(RULE, FAMILY, CONFIG, "run")
    state, metrics = run_round(RULE, FAMILY, CONFIG, state)
    assert (metrics["replayed"], metrics["replay_size"]) == (0.0, 2.0)
    planned, jobs, phi = plan_round(FAMILY, CONFIG, state)
    results = [perform(RULE, CONFIG, phi, job) for job in jobs]
    after, metrics = absorb(RULE, CONFIG, planned, results)
    assert metrics["replayed"] == 4.0
    segments = [one for one, _ in results if isinstance(one, Segment)]
    learner, _ = learner_step(RULE, CONFIG.learner, state.learner, segments)
    for _ in range(2):  # two slots and two entries: each update takes both, and then they are used up
        learner, _ = learner_step(RULE, CONFIG.learner, learner, [kept.segment for kept in state.replay.entries])
    assert digest(after.learner.phi) == digest(learner.phi)
    assert _keys(after.replay) == [(2, 0), (2, 1)]
    assert after.replay.drops == {USED_UP: 2}


def test_taught_segments_are_imitated_again() -> None:
    config = replace(CONFIG, slots=1, behaviour=BehaviourConfig(imitation=(1.0,)), replay=replace(ON, updates=1))
    state = fresh_state(RULE, FAMILY, config, "run")
    for _ in range(2):
        state, _ = run_round(RULE, FAMILY, config, state)
    assert {kept.segment.source.behaviour for kept in state.replay.entries} == {TEACHER}
    assert float(state.learner.optimizers["imitation"]["linear.w/step"]) == 3.0
    assert state.learner.optimizers["rtg"] == {}


def test_contributions_in_any_order_give_the_same_bytes() -> None:
    config = replace(CONFIG, slots=4)
    phis = []
    for order in (1, -1):
        state = fresh_state(RULE, FAMILY, config, "run")
        for _ in range(4):
            state, jobs, phi = plan_round(FAMILY, config, state)
            results = [perform(RULE, config, phi, job) for job in jobs]
            slots = tuple((ticket, after) for (ticket, _), (_, after) in zip(state.slots, results, strict=True))
            done = sum(after.finished(ticket) for ticket, after in slots)
            state, _ = learn(RULE, config, state, [one for one, _ in results][::order], done)
            state = replace(state, slots=slots)
        phis.append(digest(state.learner.phi))
    assert phis[0] == phis[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"uses": -1}, r"replay\.uses"),
        ({"batch": -1}, r"replay\.batch"),
        ({"capacity": 0}, r"replay\.capacity"),
        ({"updates": 0}, r"replay\.updates"),
        ({"max_staleness": 0}, r"replay\.max_staleness"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ReplayConfig(**settings)
