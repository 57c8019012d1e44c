"""A ticket is plain data, and a trajectory ends where it says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from rayl2o.tasks.base import TaskSpec
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.ticket import SlotState, Ticket

TICKET = Ticket("run", 11, 1, 2, (TaskSpec("quadratic", {"size": 3}, 5),), 100)


def test_round_trip() -> None:
    ticket = replace(TICKET, behaviour=MIX, teachers=("sgd:lr=0.1",), teacher_share=0.25, teacher_weights=(2.0,))
    assert Ticket.from_json(json.loads(json.dumps(ticket.to_json()))) == ticket


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"behaviour": "pupil"}, "behaviour"),
        ({"behaviour": "mix"}, "needs at least one teacher"),
        ({"behaviour": "teacher", "teachers": ("sgd", "adam")}, "one teacher"),
        ({"behaviour": "mix", "teachers": ("sgd", "adam"), "teacher_weights": (1.0,)}, "one weight per teacher"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TICKET, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "alive", "finished"), [(80, True, False), (100, True, True), (120, True, True), (20, False, True)]
)
def test_a_trajectory_ends_at_its_horizon_or_when_all_have_diverged(step: int, alive: bool, finished: bool) -> None:
    zeros = torch.zeros(1, 3)
    state = SlotState(zeros, {"coord": zeros}, (), zeros, zeros[:, 0], zeros[:, 0], torch.tensor([alive]), step, 1)
    assert state.finished(TICKET) is finished
