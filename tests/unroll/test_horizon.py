"""Credit from beyond the segment: the first rows of one long window's credit, handed over late and in pieces."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.curriculum import CurriculumConfig
from rayl2o.meta.rounds import fresh_state, plan_round, run_round
from rayl2o.meta.snapshot import dump, restore
from rayl2o.meta.training import TrainConfig
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

RULE = make("rnnprop-small", {"output_scale": 0.1})
FAMILY = task("mlp", data="digits", hidden=(3,), init_std=0.3)
TICKET = Ticket("t", 0, 0, 0, tuple(FAMILY.sample(generator(k)) for k in range(2)), 24)
CONFIG = UnrollConfig(steps=4, dtype="float64")
PHI = RULE.init_phi(generator("phi"), dtype=torch.float64)


def _trajectory(config: UnrollConfig, ticket: Ticket = TICKET) -> list[Segment]:
    segments: list[Segment] = []
    state: SlotState | None = None
    while state is None or not state.finished(ticket):
        segment, state = rollout(RULE, config, ticket, state, PHI, version=len(segments))
        segments.append(segment)
    return segments


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize("ahead", [4, 8])
def test_the_credit_is_that_of_a_longer_window(ahead: int, discount: float) -> None:
    plain = _trajectory(CONFIG)
    far = _trajectory(replace(CONFIG, credit_horizon=ahead, discount=discount))
    assert [s.source.segment for s in far] == [0, 1, 2, 3, 4, 5]
    for begin, segment in enumerate(far):
        steps = min(4 + ahead, 24 - 4 * begin)
        state: SlotState | None = None
        for _ in range(begin):
            _, state = rollout(RULE, CONFIG, TICKET, state, PHI)
        longer, _ = rollout(RULE, replace(CONFIG, steps=steps, discount=discount), TICKET, state, PHI)
        torch.testing.assert_close(segment.credit, longer.credit[:, :4], rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(segment.grad, plain[begin].grad, rtol=0, atol=0)


def test_a_delay_alone_changes_nothing_but_when_a_segment_comes() -> None:
    for plain, late in zip(_trajectory(CONFIG), _trajectory(replace(CONFIG, credit_delay=8)), strict=True):
        for field in fields(Segment):
            one, other = getattr(plain, field.name), getattr(late, field.name)
            if isinstance(one, Tensor):
                assert torch.equal(one, other), field.name
        assert late.source.policy_version == max(0, plain.source.segment - 2)


def test_a_discount_inside_the_window() -> None:
    (plain, *_), (short, *_) = _trajectory(CONFIG), _trajectory(replace(CONFIG, discount=0.5))
    direct = plain.credit - torch.nn.functional.pad(plain.credit[:, 1:], (0, 0, 0, 1))
    expected = sum(0.5**t * direct[:, t] for t in range(4))
    torch.testing.assert_close(short.credit[:, 0], expected)


def test_coordinates_are_drawn_when_the_credit_is_known() -> None:
    config = replace(CONFIG, credit_horizon=8, sampling="importance", coords_per_row=9)
    few, all_of_them = _trajectory(config)[1], _trajectory(replace(config, sampling="all"))[1]
    assert few.coords.shape == (2, 9)
    index = few.coords.long()
    torch.testing.assert_close(
        few.credit, all_of_them.credit.gather(2, index[:, None].expand(-1, 4, -1)), rtol=0, atol=0
    )


def test_an_instance_that_diverges_later_leaves_earlier_segments_sound() -> None:
    ticket = replace(TICKET, behaviour=MIX, teachers=("sgd:lr=1e30",), teacher_share=0.05, slot=3)
    segments = _trajectory(replace(CONFIG, credit_horizon=8), ticket)
    assert "diverged" in {status for segment in segments for status in segment.status}
    assert all(bool(torch.isfinite(segment.credit).all()) for segment in segments)


def test_a_snapshot_keeps_what_waits() -> None:
    config = TrainConfig(
        unroll=replace(CONFIG, credit_horizon=8),
        curriculum=CurriculumConfig(kind="none", n_train=(24,)),
        updates=9,
        instances=2,
    )
    state = fresh_state(RULE, FAMILY, config, "run")
    state, _ = run_round(RULE, FAMILY, config, state)
    restored = restore(*dump(state))
    for _ in range(8):
        (state, _), (restored, _) = (run_round(RULE, FAMILY, config, one) for one in (state, restored))
    assert plan_round(FAMILY, config, state)[1][0].ticket.ordinal == 1
    for name, value in state.learner.phi.items():
        assert torch.equal(value, restored.learner.phi[name])


@pytest.mark.parametrize(
    "settings",
    [{"credit_horizon": 3}, {"credit_delay": -4}, {"discount": 0.0}, {"discount": 0.9, "credit": "exact"}],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UserError):
        replace(CONFIG, **settings)  # type: ignore[arg-type]


def test_only_segments_can_wait() -> None:
    with pytest.raises(UserError, match="looks no further"):
        TrainConfig(
            estimator="bptt",
            unroll=replace(CONFIG, credit_horizon=4),
            curriculum=CurriculumConfig(kind="none", n_train=(24,)),
        )
